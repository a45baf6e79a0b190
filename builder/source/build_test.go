package source_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

const greeter = `package main

import "example.org/tool/say"

var version = "none"

func main() { say.Say("NAME", version) }
`

// goProxy makes a module proxy of one module, in a folder, and returns the
// environment of a Go command that asks it and nobody else.
func goProxy(t *testing.T) []string {
	t.Helper()
	code := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":        "module example.org/tool\n\ngo 1.24\n",
		"say/say.go":    "package say\n\nimport \"fmt\"\n\nvar Greeting = \"?\"\n\nfunc Say(name, version string) { fmt.Println(Greeting, name, version) }\n",
		"cmd/a/main.go": strings.ReplaceAll(greeter, "NAME", "a"),
		"cmd/b/main.go": strings.ReplaceAll(greeter, "NAME", "b"),
	} {
		writeFile(t, filepath.Join(code, name), []byte(text))
	}
	proxy := t.TempDir()
	at := filepath.Join(proxy, "example.org/tool/@v")
	var b bytes.Buffer
	if err := zip.CreateFromDir(&b, module.Version{Path: "example.org/tool", Version: "v1.0.0"}, code); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(at, "v1.0.0.zip"), b.Bytes())
	writeFile(t, filepath.Join(at, "v1.0.0.mod"), []byte("module example.org/tool\n\ngo 1.24\n"))
	writeFile(t, filepath.Join(at, "v1.0.0.info"), []byte(`{"Version":"v1.0.0"}`))
	writeFile(t, filepath.Join(at, "list"), []byte("v1.0.0\n"))
	env := append(os.Environ(), "GOPROXY=file://"+proxy, "GOSUMDB=off", "GOFLAGS=", "GOTOOLCHAIN=local", "GOMODCACHE="+filepath.Join(t.TempDir(), "mod"))
	t.Cleanup(func() {
		// The Go command makes its folders read-only.
		clean := exec.Command("go", "clean", "-modcache")
		clean.Env, clean.Dir = env, os.TempDir()
		if out, err := clean.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return env
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// Two programs of a module, in one compile, with the values that the recipe
// sets; twice the same bytes.
func TestGoBuild(t *testing.T) {
	g := source.Go{Env: goProxy(t), Jobs: 2}
	m := images.Module{
		Module: "example.org/tool", Version: "v1.0.0",
		LDFlags:  []string{"main.version=v9", "example.org/tool/say.Greeting=hello=you"},
		Programs: []images.Program{{Name: "a", Package: "example.org/tool/cmd/a"}, {Name: "bee", Package: "example.org/tool/cmd/b"}},
	}
	pin, err := g.Resolve(t.Context(), m.Module, m.Version)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(pin.Sum, "h1:") || !strings.HasPrefix(pin.GoModSum, "h1:") {
		t.Errorf("pinned by %+v", pin)
	}
	if err := g.Source(pin).Fetch(t.Context(), source.Cache{}); err != nil {
		t.Error(err)
	}
	dirs := []string{t.TempDir(), t.TempDir()}
	for _, dir := range dirs {
		if err := g.Build(t.Context(), m, pin, dir); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"a": "hello=you a v9\n", "bee": "hello=you b v9\n"} {
		out, err := exec.Command(filepath.Join(dirs[0], name)).Output()
		if err != nil || string(out) != want {
			t.Errorf("%s prints %q, %v; want %q", name, out, err, want)
		}
		first, _, _ := source.SumFile(filepath.Join(dirs[0], name))
		if second, _, err := source.SumFile(filepath.Join(dirs[1], name)); first != second || err != nil {
			t.Errorf("%s built twice differs (%v)", name, err)
		}
	}
}

func TestGoPinHolds(t *testing.T) {
	env := goProxy(t)
	pin, err := source.Go{Env: env}.Resolve(t.Context(), "example.org/tool", "v1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	pin.Sum = "h1:" + strings.Repeat("0", 43) + "="
	want := "fetching module example.org/tool@v1.0.0: it is not the locked one"
	m := images.Module{Module: pin.Path, Version: pin.Version, Programs: []images.Program{{Name: "a", Package: "example.org/tool/cmd/a"}}}
	if err := (source.Go{Env: env}).Build(t.Context(), m, pin, t.TempDir()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("building: %v", err)
	}
	if err := (source.Go{Env: env}).Source(pin).Fetch(t.Context(), source.Cache{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("fetching: %v", err)
	}
	if _, err := (source.Go{Env: slices.Clone(env)}).Resolve(t.Context(), "example.org/tool", "v1.0.1"); err == nil || !strings.Contains(err.Error(), "fetching module example.org/tool@v1.0.1") {
		t.Errorf("no such version: %v", err)
	}
}
