package container_test

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/k8snode/k8snode/builder/container"
	"github.com/k8snode/k8snode/builder/source"
)

func unpack(t *testing.T, file string) map[string][]byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files := map[string][]byte{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if files[h.Name], err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func onDisk(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for file, b := range files {
		at := filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// wantDocker reads an archive as "docker load" does.
func wantDocker(t *testing.T, file, reference string, want v1.Image) {
	t.Helper()
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(file, &tag)
	if err != nil {
		t.Fatal(err)
	}
	got, err := img.ConfigName()
	wantName, wantErr := want.ConfigName()
	if err != nil || wantErr != nil || got != wantName {
		t.Errorf("docker loads the config %s (%v), want %s (%v)", got, err, wantName, wantErr)
	}
	layers, err := img.Layers()
	wantLayers, wantErr := want.Layers()
	if err != nil || wantErr != nil || len(layers) != len(wantLayers) {
		t.Fatalf("docker loads %d layers (%v), want %d (%v)", len(layers), err, len(wantLayers), wantErr)
	}
	for i := range layers {
		got, err := layers[i].DiffID()
		wantID, wantErr := wantLayers[i].DiffID()
		if err != nil || wantErr != nil || got != wantID {
			t.Errorf("docker loads the layer %s (%v), want %s (%v)", got, err, wantID, wantErr)
		}
	}
}

func wantArchive(t *testing.T, file, reference string, want v1.Image) {
	t.Helper()
	files := unpack(t, file)
	wantDocker(t, file, reference, want)
	index, err := layout.ImageIndexFromPath(onDisk(t, files))
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := want.Digest()
	if len(m.Manifests) != 1 || m.Manifests[0].Annotations["io.containerd.image.name"] != reference || m.Manifests[0].Digest != digest {
		b, _ := json.Marshal(m)
		t.Fatalf("index: %s, want %s", b, digest)
	}
	img, err := index.Image(digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	wantLayers, _ := want.Layers()
	if len(layers) != len(wantLayers) || len(files) != len(layers)+5 {
		t.Errorf("%d layers in %d files", len(layers), len(files))
	}
	for i, l := range layers {
		got, _ := l.DiffID()
		if wanted, _ := wantLayers[i].DiffID(); got != wanted {
			t.Errorf("layer %d unpacks to %s, want %s", i, got, wanted)
		}
		if r, err := l.Uncompressed(); err != nil {
			t.Error(err)
		} else if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("layer %d: %v", i, err)
		}
	}
}

func pack(t *testing.T, c source.Cache, digest string) string {
	t.Helper()
	file, err := container.Pack(t.Context(), c, container.PackOptions{
		Reference: "registry.example/name:v1", Digest: digest, Epoch: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Work: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestImport(t *testing.T) {
	index, byPlatform := indexOf(t, "linux/amd64", "linux/arm64")
	write := func(what func(p layout.Path) error) fs.FS {
		dir := t.TempDir()
		p, err := layout.Write(filepath.Join(dir, "layouts/a"), empty.Index)
		if err != nil {
			t.Fatal(err)
		}
		if err := what(p); err != nil {
			t.Fatal(err)
		}
		return os.DirFS(dir)
	}
	img := byPlatform["linux/amd64"]
	for name, folder := range map[string]fs.FS{
		"an image": write(func(p layout.Path) error { return p.AppendImage(img) }),
		"an index": write(func(p layout.Path) error { return p.AppendIndex(index) }),
	} {
		t.Run(name, func(t *testing.T) {
			c := source.Cache{Dir: t.TempDir()}
			digest, err := container.Import(t.Context(), c, folder, "layouts/a")
			if err != nil {
				t.Fatal(err)
			}
			wantArchive(t, pack(t, c, digest), "registry.example/name:v1", img)
		})
	}
}

func TestImportRefuses(t *testing.T) {
	img := randomImage(t, "linux", "amd64")
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	layers, _ := img.Layers()
	layer, _ := layers[0].Digest()
	good := map[string][]byte{}
	err = fs.WalkDir(os.DirFS(dir), ".", func(at string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			good[path.Join("a", at)], err = os.ReadFile(filepath.Join(dir, at))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	at := "a/blobs/sha256/" + layer.Hex
	tests := []struct {
		name   string
		change func(fstest.MapFS)
		want   string
	}{
		{"no index", func(m fstest.MapFS) { delete(m, "a/index.json") }, `reading the image layout "a": open a/index.json: file does not exist`},
		{"no image", func(m fstest.MapFS) { m["a/index.json"].Data = []byte(`{"schemaVersion":2,"manifests":[]}`) }, `reading the image layout "a": index.json names 0 images; put one into the folder`},
		{"not JSON", func(m fstest.MapFS) { m["a/index.json"].Data = []byte("<") }, `reading the image layout "a": reading index.json: invalid character '<' looking for beginning of value`},
		{"no layer", func(m fstest.MapFS) { delete(m, at) }, `reading the image layout "a": fetching ` + at + `: open ` + at + `: file does not exist`},
		{"another layer", func(m fstest.MapFS) { m[at].Data = []byte("x") }, `reading the image layout "a": fetching ` + at + `: ` + at + `: digest mismatch after 1 bytes: got sha256:` + source.SumBytes([]byte("x")) + `, want ` + layer.String()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			folder := fstest.MapFS{}
			for name, b := range good {
				folder[name] = &fstest.MapFile{Data: b}
			}
			tt.change(folder)
			_, err := container.Import(t.Context(), source.Cache{Dir: t.TempDir()}, folder, "a")
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}
