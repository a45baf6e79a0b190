package images_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/golden"
	"github.com/k8snode/k8snode/internal/report"
)

func TestEmbeddedRecipes(t *testing.T) {
	names := images.Names()
	if len(names) == 0 {
		t.Fatal("no recipe is embedded")
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			loaded, err := images.Load(name, images.LoadOptions{})
			if err != nil {
				t.Fatalf("loading:\n%v", err)
			}
			recipe := loaded.Recipe
			if recipe.Metadata.Name != name {
				t.Errorf("metadata.name is %q, the file is named %s.yaml", recipe.Metadata.Name, name)
			}
			for _, source := range sources(recipe) {
				if info, err := fs.Stat(loaded.Sources, source); err != nil || !info.Mode().IsRegular() {
					t.Errorf("source %s: not a file beside the recipe (%v)", source, err)
				}
			}
		})
	}
}

// The released image has all that the compiled one has, at the same paths.
func TestReleaseIsNode(t *testing.T) {
	held := func(name string) map[string]string {
		loaded, err := images.Load(name, images.LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		paths := map[string]string{}
		for _, m := range loaded.Recipe.Spec.Modules {
			for _, p := range m.Programs {
				if p.Path != "" {
					paths[p.Path] = "program"
				}
			}
		}
		for _, d := range loaded.Recipe.Spec.Downloads {
			if d.SHA256URL == "" {
				t.Errorf("%s: download %s is pinned in the recipe, where it is easily forgotten", name, d.Name)
			}
			paths[d.Path] = "program"
		}
		for _, c := range loaded.Recipe.Spec.Containers {
			paths[c.Reference] = c.Role
		}
		return paths
	}
	if diff := cmp.Diff(held("node"), held("release")); diff != "" {
		t.Errorf("-node +release:\n%s", diff)
	}
}

// sources returns the files that a recipe refers to.
func sources(r images.Recipe) []string {
	var list []string
	for _, f := range r.Spec.Files {
		list = append(list, f.Source)
	}
	for _, u := range r.Spec.Units {
		list = append(list, u.Source)
		for _, d := range u.Dropins {
			list = append(list, d.Source)
		}
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

func TestOpenRefuses(t *testing.T) {
	for _, name := range []string{"no-such-recipe", "", "../recipes/node", "node/x", "."} {
		if _, _, err := images.Open(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q) = %v, want fs.ErrNotExist", name, err)
		}
	}
}

func TestParseValid(t *testing.T) {
	for _, file := range glob(t, "testdata/valid-*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if _, err := images.Parse(file, read(t, file)); err != nil {
				t.Errorf("got:\n%v\nwant no problem", err)
			}
		})
	}
}

func TestParseInvalid(t *testing.T) {
	for _, file := range glob(t, "testdata/invalid-*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data := read(t, file)
			recipe, err := images.Parse(filepath.Base(file), data)
			var problems report.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("got error %v, want report.Problems", err)
			}
			if diff := cmp.Diff(images.Recipe{}, recipe); diff != "" {
				t.Errorf("a recipe with problems is not empty (-want +got):\n%s", diff)
			}
			for _, p := range problems {
				if p.File != filepath.Base(file) || p.Line < 1 || p.Col < 1 {
					t.Errorf("problem without a place: %+v", p)
				}
			}
			golden.Check(t, strings.TrimSuffix(file, ".yaml")+".txt", []byte(problems.Error()+"\n"))
		})
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files match %s (%v)", pattern, err)
	}
	return files
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
