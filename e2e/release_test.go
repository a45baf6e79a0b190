package e2e_test

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/k8snode/k8snode/builder/source/releasetest"
	"github.com/k8snode/k8snode/images"
)

// TestReleaseBake bakes the recipe of upstream's releases, with servers here in
// the place of upstream's, and again from the cache alone.
func TestReleaseBake(t *testing.T) {
	if *image == "" || *k8snode == "" {
		t.Skip("no -image or no -k8snode: make test passes them")
	}
	dir := besideImage(t)
	plain, err := images.Load("release", images.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	spec := plain.Recipe.Spec
	pages, err := releasetest.Handler(spec.Downloads, func(name string) []byte { return []byte("#!the program " + name + "\n") })
	if err != nil {
		t.Fatal(err)
	}
	files := httptest.NewServer(pages)
	defer files.Close()
	containers := httptest.NewServer(registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))))
	defer containers.Close()
	for _, c := range spec.Containers {
		push(t, strings.Replace(c.Image, "registry.k8s.io", strings.TrimPrefix(containers.URL, "http://"), 1))
	}
	args := []string{
		"--recipe", "release", "--out", filepath.Join(dir, "image"), "--lock", filepath.Join(dir, "lock.json"),
		"--set", "spec.outputs=[raw]",
		"--set", "spec.mirrors[https://dl.k8s.io]=" + files.URL + "/dl.k8s.io",
		"--set", "spec.mirrors[https://github.com]=" + files.URL + "/github.com",
		"--set", "spec.mirrors[registry.k8s.io]=" + containers.URL,
	}
	bake(t, args)
	first := sums(t, filepath.Join(dir, "image"))

	m, err := images.OpenManifest(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]int{}
	for _, in := range m.Inputs {
		sources[in.Source]++
	}
	if sources["oci"] != len(spec.Containers) || sources["url"] == 0 || sources["gomod"] != len(spec.Modules) {
		t.Errorf("inputs by source: %v", sources)
	}
	for _, d := range spec.Downloads {
		if !slices.ContainsFunc(m.Files, func(f images.InstalledFile) bool { return f.Path == d.Path }) {
			t.Errorf("the image has no %s", d.Path)
		}
	}

	// Upstream is gone, the image is not.
	files.Close()
	containers.Close()
	if err := os.RemoveAll(filepath.Join(dir, "image")); err != nil {
		t.Fatal(err)
	}
	bake(t, append(args, "--offline", "--locked"))
	if diff := cmp.Diff(first, sums(t, filepath.Join(dir, "image"))); diff != "" {
		t.Errorf("offline (-first +second):\n%s", diff)
	}
}

func bake(t *testing.T, args []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), *k8snode, append([]string{"bake"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("bake %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// push puts a small container image for this machine into a registry.
func push(t *testing.T, reference string) {
	t.Helper()
	made, err := random.Image(10_000, 1)
	if err != nil {
		t.Fatal(err)
	}
	config, err := made.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	if made, err = mutate.ConfigFile(made, config); err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, made, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}
