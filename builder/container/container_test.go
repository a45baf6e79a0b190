package container_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/klauspost/compress/zstd"

	"github.com/k8snode/k8snode/builder/container"
	"github.com/k8snode/k8snode/images"
)

func build(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "prog")
	if err := os.WriteFile(program, []byte("#!program"), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := container.Build(t.Context(), container.Options{
		Container: images.Container{
			Reference: "registry.example/pause:1", Path: "/usr/bin/pause", Entrypoint: []string{"/usr/bin/pause"}, User: "65535:65535",
			Links: map[string]string{"/usr/bin/sleep": "pause"},
		},
		Program: program, Epoch: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Work: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBuild(t *testing.T) {
	archive := build(t)
	if !bytes.Equal(archive, build(t)) {
		t.Error("built twice, it differs")
	}

	// An importer sees a valid OCI layout whose image has the full name.
	dir := t.TempDir()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		b, _ := io.ReadAll(r)
		file := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(path.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != 1 || m.Manifests[0].Annotations["io.containerd.image.name"] != "registry.example/pause:1" {
		b, _ := json.Marshal(m)
		t.Fatalf("index: %s", b)
	}
	img, err := index.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, img)
}

func checkImage(t *testing.T, img v1.Image) {
	t.Helper()
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Config.User != "65535:65535" || cfg.Config.Entrypoint[0] != "/usr/bin/pause" || cfg.OS != "linux" || cfg.Architecture != "amd64" {
		t.Errorf("config: %+v", cfg)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	stored, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer stored.Close()
	rc, err := zstd.NewReader(stored)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	found := map[string]string{}
	sum := sha256.New()
	for r := tar.NewReader(io.TeeReader(rc, sum)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r)
		found[h.Name] = h.Linkname + string(b)
	}
	if _, err := io.Copy(sum, rc); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); len(cfg.RootFS.DiffIDs) != 1 || cfg.RootFS.DiffIDs[0].Hex != got {
		t.Errorf("the layer unpacks to %s, diff IDs %v", got, cfg.RootFS.DiffIDs)
	}
	if found["usr/bin/pause"] != "#!program" || found["usr/bin/sleep"] != "pause" {
		t.Errorf("layer: %v", found)
	}
}
