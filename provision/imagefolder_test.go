package provision_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/library"
)

// imageFolder writes an image with one file that its manifest does not list.
func imageFolder(t *testing.T) (string, images.Manifest) {
	t.Helper()
	dir := t.TempDir()
	m := images.Manifest{APIVersion: images.APIVersion, Kind: images.ManifestKind, ID: imageID}
	for _, path := range []string{images.KernelFile, images.InitrdFile, images.IPXEFile, images.DiskFile, images.BlockMapFile} {
		data := []byte("content of " + path)
		writeFile(t, filepath.Join(dir, filepath.FromSlash(path)), data)
		sum := sha256.Sum256(data)
		m.Artifacts = append(m.Artifacts, images.Artifact{Path: path, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])})
	}
	writeFile(t, filepath.Join(dir, "notes.txt"), []byte("not listed"))
	writeManifest(t, dir, m)
	return dir, m
}

func writeManifest(t *testing.T, dir string, m images.Manifest) {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, images.ManifestFile), b)
}

// single is the library of one image.
func single(t *testing.T, dir string) *library.Library {
	t.Helper()
	l, err := library.Single(dir, library.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
