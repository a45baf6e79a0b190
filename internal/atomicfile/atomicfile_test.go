package atomicfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/k8snode/k8snode/internal/atomicfile"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a/b/file")
	for _, tt := range []struct {
		data string
		mode os.FileMode
	}{{"first, longer", 0o600}, {"second", 0o666}, {"", 0o640}} {
		if err := atomicfile.Write(path, []byte(tt.data), tt.mode); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != tt.data {
			t.Errorf("got %q, %v", got, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != tt.mode {
			t.Errorf("got mode %v, %v; want %v", info.Mode(), err, tt.mode)
		}
	}
}

func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(target, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(target, []byte("x"), 0o600); err == nil {
		t.Error("a folder was replaced")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
