package builder_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/images"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReplaceDir(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "node")
	for _, content := range []string{"first", "second"} {
		tmp := filepath.Join(dir, ".node-tmp")
		write(t, filepath.Join(tmp, "disk"), content)
		if err := builder.ReplaceDir(tmp, out); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(out, "disk")); err != nil || string(b) != content {
			t.Errorf("got %q, %v; want %q", b, err, content)
		}
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
	}

	// What cannot be put in place leaves the former image where it was.
	if err := builder.ReplaceDir(filepath.Join(dir, "missing"), out); err == nil {
		t.Error("replaced an image by nothing")
	}
	if b, err := os.ReadFile(filepath.Join(out, "disk")); err != nil || string(b) != "second" {
		t.Errorf("the former image: %q, %v", b, err)
	}
}

func TestPublished(t *testing.T) {
	dir := t.TempDir()
	m := images.Manifest{ID: "1", Artifacts: []images.Artifact{{Path: "pxe/vmlinuz", Size: 3}}}
	if builder.Published(dir, m) {
		t.Error("an empty folder counts as published")
	}
	if err := builder.WriteJSON(filepath.Join(dir, images.ManifestFile), m); err != nil {
		t.Fatal(err)
	}
	if builder.Published(dir, m) {
		t.Error("a folder without its artifact counts as published")
	}
	write(t, filepath.Join(dir, "pxe/vmlinuz"), "abc")
	if !builder.Published(dir, m) {
		t.Error("a complete folder does not count as published")
	}
	write(t, filepath.Join(dir, "pxe/vmlinuz"), "ab")
	if builder.Published(dir, m) {
		t.Error("a truncated artifact counts as published")
	}
	other := m
	other.ID = "2"
	write(t, filepath.Join(dir, "pxe/vmlinuz"), "abc")
	if builder.Published(dir, other) {
		t.Error("another image counts as published")
	}
}
