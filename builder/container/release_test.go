package container_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/source/releasetest"
	"github.com/k8snode/k8snode/images"
)

// program is what the stand-in for upstream has as a program of that name.
func program(name string) []byte { return []byte("#!the program " + name + "\n") }

// releases stands in for the release pages that the recipe "release" names.
func releases(t *testing.T, downloads []images.Download) *httptest.Server {
	t.Helper()
	pages, err := releasetest.Handler(downloads, program)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(pages)
	t.Cleanup(server.Close)
	return server
}

// The recipe of upstream's releases, with a local server and a local registry
// in place of upstream: locked, fetched, and made from the cache alone.
func TestReleaseRecipe(t *testing.T) {
	plain, err := images.Load("release", images.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	files := releases(t, plain.Recipe.Spec.Downloads)
	upstream := newUpstream(t)
	loaded, err := images.Load("release", images.LoadOptions{Set: []string{
		"spec.mirrors[https://dl.k8s.io]=" + files.URL + "/dl.k8s.io",
		"spec.mirrors[https://github.com]=" + files.URL + "/github.com",
		"spec.mirrors[registry.k8s.io]=http://" + upstream.host + "/up",
	}})
	if err != nil {
		t.Fatal(err)
	}
	spec := loaded.Recipe.Spec
	http := source.HTTP{Mirrors: spec.Mirrors}
	registry := upstream.registry()
	registry.HTTP.Mirrors = spec.Mirrors

	// Lock.
	pins, err := http.Resolve(t.Context(), spec.Downloads)
	if err != nil {
		t.Fatal(err)
	}
	wanted, pinned := map[string]v1.Image{}, map[string]string{}
	for _, c := range spec.Containers {
		index, byPlatform := indexOf(t, "linux/amd64", "linux/arm64")
		upstream.push(t, strings.TrimPrefix(c.Image, "registry.k8s.io/"), index)
		wanted[c.Reference] = byPlatform["linux/amd64"]
		if pinned[c.Reference], err = registry.Resolve(t.Context(), c.Image); err != nil {
			t.Fatal(err)
		}
	}

	// Fetch.
	c := source.Cache{Dir: t.TempDir()}
	var sources []source.Source
	for _, f := range pins {
		sources = append(sources, http.Source(f))
	}
	for _, image := range pinned {
		sources = append(sources, registry.Source(image))
	}
	if err := source.FetchAll(t.Context(), c, 4, sources...); err != nil {
		t.Fatal(err)
	}

	// Make, without a network.
	files.Close()
	upstream.Close()
	for i, d := range spec.Downloads {
		digest := pins[i].SHA256
		if d.Member != "" {
			if digest, err = c.Extract(t.Context(), pins[i].Name, digest, d.Member); err != nil {
				t.Fatal(err)
			}
		}
		r, err := c.Open(digest)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(got, program(d.Name)) {
			t.Errorf("%s is %q, %v", d.Path, got, err)
		}
	}
	for reference, image := range pinned {
		_, digest, _ := strings.Cut(image, "@")
		file := pack(t, c, digest)
		wantArchive(t, file, "registry.example/name:v1", wanted[reference])
	}
	if len(pins) == 0 || len(pinned) == 0 {
		t.Errorf("%d downloads, %d images", len(pins), len(pinned))
	}
}

// Upstream that has replaced a file after it was locked is noticed.
func TestReleaseReplaced(t *testing.T) {
	content := []byte("v1")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			_, _ = io.WriteString(w, source.SumBytes([]byte("v1")))
			return
		}
		_, _ = w.Write(content)
	}))
	defer server.Close()
	h := source.HTTP{Client: server.Client()}
	pins, err := h.Resolve(t.Context(), []images.Download{{Name: "tool", URL: server.URL + "/tool", SHA256URL: server.URL + "/tool.sha256"}})
	if err != nil {
		t.Fatal(err)
	}
	content = []byte("v2")
	_, err = h.Fetch(t.Context(), source.Cache{Dir: t.TempDir()}, pins[0])
	if err == nil || !strings.Contains(err.Error(), "the server has another file than the one that was pinned") {
		t.Errorf("got %v", err)
	}
}
