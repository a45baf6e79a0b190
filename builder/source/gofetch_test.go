package source_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/goproxytest"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

// goCommand is the Go command with a module cache of its own and a proxy that
// serves testdata/modules.
func goCommand(t *testing.T) (source.Go, *goproxytest.Server) {
	t.Helper()
	if err := source.LookTools("go"); err != nil {
		t.Skip(err)
	}
	proxy := goproxytest.NewTestServer(t, "testdata/modules", "")
	return source.Go{Env: append(os.Environ(), "GOPROXY="+proxy.URL, "GONOSUMDB=*", "GOFLAGS=-modcacherw",
		"GOTOOLCHAIN=local", "GOMODCACHE="+filepath.Join(t.TempDir(), "modcache"))}, proxy
}

func helloModule() images.Module {
	return images.Module{Module: "example.org/hello", Version: "v1.0.0", Programs: []images.Program{
		{Name: "hello", Package: "example.org/hello"}, {Name: "bye", Package: "example.org/hello/cmd/bye"},
	}}
}

// What was fetched is compiled without a proxy; what was not is not.
func TestGoFetch(t *testing.T) {
	g, proxy := goCommand(t)
	want := helloModule()
	pin, err := g.Resolve(t.Context(), want.Module, want.Version)
	if err != nil {
		t.Fatal(err)
	}
	// The module alone is there now, those that it needs are not.
	offline := g
	offline.Offline = true
	_, err = offline.Fetch(t.Context(), want, pin, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "fetching what example.org/hello@v1.0.0 is built from: ") || !strings.Contains(err.Error(), "GOPROXY=off") {
		t.Errorf("offline, before: error %v", err)
	}
	got, err := g.Fetch(t.Context(), want, pin, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	modules := []string{"example.org/dep@v1.2.0", "example.org/fork@v1.0.1", "example.org/hello@v1.0.0"}
	if diff := cmp.Diff(modules, got); diff != "" {
		t.Error(diff)
	}

	proxy.Close()
	if got, err = offline.Fetch(t.Context(), want, pin, t.TempDir()); err != nil || !cmp.Equal(modules, got) {
		t.Errorf("offline: %v, %v", got, err)
	}
	dir := t.TempDir()
	if err := offline.Build(t.Context(), want, pin, dir); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{"hello": "hello from dep", "bye": "bye from a fork"} {
		out, err := exec.Command(filepath.Join(dir, program)).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s says %q, %v", program, out, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "wrapper-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestGoFetchRefuses(t *testing.T) {
	g, _ := goCommand(t)
	want := helloModule()
	pin, err := g.Resolve(t.Context(), want.Module, want.Version)
	if err != nil {
		t.Fatal(err)
	}
	other := pin
	other.Sum = "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	_, err = g.Fetch(t.Context(), want, other, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "it is not the locked one: got "+pin.Sum+", want "+other.Sum) {
		t.Errorf("another module: error %v", err)
	}
	if _, err := g.Resolve(t.Context(), want.Module, "v9.9.9"); err == nil || !strings.Contains(err.Error(), "fetching module example.org/hello@v9.9.9: ") {
		t.Errorf("no such version: error %v", err)
	}
	g.Offline = true
	if _, err := g.Resolve(t.Context(), "example.org/dep", "v1.2.0"); err == nil || !strings.Contains(err.Error(), "GOPROXY=off") {
		t.Errorf("offline: error %v", err)
	}
}
