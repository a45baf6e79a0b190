package container_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // the registry's logger is one
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/k8snode/k8snode/builder/container"
	"github.com/k8snode/k8snode/builder/source"
)

// upstream is a registry that can be made to misbehave.
type upstream struct {
	*httptest.Server
	host string
	mu   sync.Mutex
	// requests for blobs, with their ranges.
	blobs []string
	all   int
	// tamper may answer in place of the registry, and reports whether it has.
	tamper func(w http.ResponseWriter, r *http.Request) bool
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	u := &upstream{}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.all++
		if _, digest, ok := strings.Cut(r.URL.Path, "/blobs/sha256:"); ok && r.Method == http.MethodGet {
			u.blobs = append(u.blobs, strings.TrimSpace(digest[:8]+" "+r.Header.Get("Range")))
		}
		tamper := u.tamper
		u.mu.Unlock()
		if tamper == nil || !tamper(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	u.host = strings.TrimPrefix(u.URL, "http://")
	t.Cleanup(u.Close)
	return u
}

// forget clears what was counted.
func (u *upstream) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.blobs, u.all = nil, 0
}

func (u *upstream) registry() container.Registry {
	return container.Registry{HTTP: source.HTTP{
		Client:  u.Client(),
		Mirrors: map[string]string{"registry.invalid": "http://" + u.host + "/up"},
		Backoff: func(int) time.Duration { return time.Millisecond },
	}}
}

// randomImage is an image of two layers for a platform.
func randomImage(t *testing.T, os, arch string) v1.Image {
	t.Helper()
	img, err := random.Image(100_000, 2)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture = os, arch
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		t.Fatal(err)
	}
	return img
}

func indexOf(t *testing.T, platforms ...string) (v1.ImageIndex, map[string]v1.Image) {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	byPlatform := map[string]v1.Image{}
	for _, p := range platforms {
		system, arch, _ := strings.Cut(p, "/")
		img := randomImage(t, system, arch)
		byPlatform[p] = img
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: system, Architecture: arch}}})
	}
	return index, byPlatform
}

func (u *upstream) push(t *testing.T, repository string, what any) string {
	t.Helper()
	ref, err := name.ParseReference(u.host + "/up/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	var digest v1.Hash
	switch what := what.(type) {
	case v1.Image:
		err = remote.Write(ref, what)
		digest, _ = what.Digest()
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, what)
		digest, _ = what.Digest()
	}
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// unpack returns the files of an archive by their names.
// onDisk writes files to a folder.
// wantArchive checks that an archive holds exactly one image, under its name.
func TestPull(t *testing.T) {
	u := newUpstream(t)
	index, byPlatform := indexOf(t, "linux/arm64", "linux/amd64", "unknown/unknown")
	u.push(t, "name:v1", index)
	single := randomImage(t, "linux", "amd64")
	u.push(t, "single:v1", single)
	tests := []struct {
		image string
		want  v1.Image
	}{
		{"registry.invalid/name:v1", byPlatform["linux/amd64"]},
		{"registry.invalid/single:v1", single},
	}
	for _, tt := range tests {
		t.Run(tt.image, func(t *testing.T) {
			r := u.registry()
			pinned, err := r.Resolve(t.Context(), tt.image)
			if err != nil {
				t.Fatal(err)
			}
			repository, digest, _ := strings.Cut(pinned, "@")
			if repository != strings.TrimSuffix(tt.image, ":v1") {
				t.Errorf("pinned by %s", pinned)
			}
			if again, err := r.Resolve(t.Context(), tt.image+"@"+digest); again != pinned || err != nil {
				t.Errorf("resolved again: %s, %v", again, err)
			}
			c := source.Cache{Dir: t.TempDir()}
			if err := r.Source(pinned).Fetch(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			file := pack(t, c, digest)
			wantArchive(t, file, "registry.example/name:v1", tt.want)
			// It is made from the cache, the same each time.
			u.forget()
			offline := container.Registry{HTTP: source.HTTP{Offline: true}}
			if err := offline.Fetch(t.Context(), c, pinned); err != nil {
				t.Errorf("offline: %v", err)
			}
			a, _, _ := source.SumFile(file)
			if b, _, _ := source.SumFile(pack(t, c, digest)); a != b {
				t.Error("packed twice, it differs")
			}
			if u.all > 0 {
				t.Errorf("%d requests for what is there", u.all)
			}
		})
	}
}

// A layer that is cut off costs what was lost.
func TestPullResumes(t *testing.T) {
	u := newUpstream(t)
	img := randomImage(t, "linux", "amd64")
	digest := u.push(t, "name:v1", img)
	layers, _ := img.Layers()
	layer, _ := layers[0].Digest()
	size, _ := layers[0].Size()
	raw, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.tamper = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, layer.Hex) || r.Header.Get("Range") != "" {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = w.Write(content[:70_000])
		return true
	}
	u.forget()
	c := source.Cache{Dir: t.TempDir()}
	if err := u.registry().Fetch(t.Context(), c, "registry.invalid/name@"+digest); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range u.blobs {
		if strings.HasPrefix(b, layer.Hex[:8]) {
			got = append(got, b)
		}
	}
	want := []string{layer.Hex[:8], fmt.Sprintf("%s bytes=70000-%d", layer.Hex[:8], size-1)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	wantArchive(t, pack(t, c, digest), "registry.example/name:v1", img)
}

func TestPullRefuses(t *testing.T) {
	u := newUpstream(t)
	good := randomImage(t, "linux", "amd64")
	goodDigest := u.push(t, "good:v1", good)
	foreign, _ := indexOf(t, "linux/arm64", "windows/amd64", "unknown/unknown")
	foreignDigest := u.push(t, "foreign:v1", foreign)
	armDigest := u.push(t, "arm:v1", randomImage(t, "linux", "arm64"))
	layers, _ := good.Layers()
	layer, _ := layers[1].Digest()
	size, _ := layers[1].Size()

	tests := []struct {
		name, pinned string
		tamper       func(w http.ResponseWriter, r *http.Request) bool
		want         string
		digest       bool
		gone         bool
	}{
		{"no image for us", "registry.invalid/foreign@" + foreignDigest, nil,
			"fetching registry.invalid/foreign@" + foreignDigest + ": the image is not for linux/amd64, but for linux/arm64, windows/amd64", false, false},
		{"a single image that is not for us", "registry.invalid/arm@" + armDigest, nil,
			"fetching registry.invalid/arm@" + armDigest + ": the image is not for linux/amd64, but for linux/arm64", false, false},
		{"not pinned", "registry.invalid/good:v1", nil, "fetching registry.invalid/good:v1: it is not pinned by a digest; lock first", false, false},
		{"no such digest", "registry.invalid/good@" + foreignDigest, nil, "status 404", false, true},
		{"another manifest", "registry.invalid/good@" + goodDigest, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/manifests/") {
				return false
			}
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			_, _ = w.Write([]byte(`{"schemaVersion":2}`))
			return true
		}, "manifest digest: ", false, false},
		{"another layer", "registry.invalid/good@" + goodDigest, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, layer.Hex) {
				return false
			}
			_, _ = w.Write(bytes.Repeat([]byte("x"), int(size)))
			return true
		}, "digest mismatch after", true, false},
		{"a layer of another size", "registry.invalid/good@" + goodDigest, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, layer.Hex) {
				return false
			}
			_, _ = w.Write([]byte("short"))
			return true
		}, fmt.Sprintf("wrong size: got 5 bytes, want %d", size), true, false},
		{"a layer that is gone", "registry.invalid/good@" + goodDigest, func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, layer.Hex) {
				http.NotFound(w, r)
				return true
			}
			return false
		}, "status 404", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u.mu.Lock()
			u.tamper = tt.tamper
			u.mu.Unlock()
			c := source.Cache{Dir: t.TempDir()}
			err := u.registry().Fetch(t.Context(), c, tt.pinned)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if got := errors.As(err, new(*source.DigestError)); got != tt.digest {
				t.Errorf("a DigestError: %t", got)
			}
			var status *source.StatusError
			if got := errors.As(err, &status) && status.Gone(); got != tt.gone {
				t.Errorf("gone: %t", got)
			}
			if _, digest, ok := strings.Cut(tt.pinned, "@"); ok {
				if _, err := container.Pack(t.Context(), c, container.PackOptions{Reference: "a:v1", Digest: digest, Work: t.TempDir()}); err == nil {
					t.Error("what is not there can be packed")
				}
			}
		})
	}
}

func TestResolveRefuses(t *testing.T) {
	u := newUpstream(t)
	var status *source.StatusError
	if _, err := u.registry().Resolve(t.Context(), "registry.invalid/none:v1"); !errors.As(err, &status) || !status.Gone() || !strings.HasPrefix(err.Error(), "locking registry.invalid/none:v1: getting ") {
		t.Errorf("no such image: %v", err)
	}
	offline := container.Registry{HTTP: source.HTTP{Offline: true}}
	if _, err := offline.Resolve(t.Context(), "registry.invalid/none:v1"); !errors.Is(err, source.ErrOffline) {
		t.Errorf("offline: %v", err)
	}
	if err := offline.Fetch(t.Context(), source.Cache{Dir: t.TempDir()}, "registry.invalid/none@sha256:"+strings.Repeat("0", 64)); !errors.Is(err, source.ErrOffline) {
		t.Errorf("fetching offline: %v", err)
	}
	u.Close()
	if _, err := u.registry().Resolve(t.Context(), "registry.invalid/none:v1"); err == nil || !strings.Contains(err.Error(), "check the network, or name another mirror") {
		t.Errorf("a registry that is down: %v", err)
	}
}
