package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/k8snode/k8snode/provision/store"
	"github.com/k8snode/k8snode/provision/store/boltstore"
)

// On a full disk a change is an error, and none at all: what was there is there,
// in this process and in the next one, and changes go on when there is room.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a small file system needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("no small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	path, filler := filepath.Join(dir, "nodes.db"), filepath.Join(dir, "filler")
	s := open(t, path)
	if err := s.Add(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	fill(t, filler)
	count := func(s *boltstore.Store) int {
		t.Helper()
		n, err := s.Node(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		return n.Refused
	}
	change := func() error {
		_, err := s.Update(t.Context(), "a", func(n *store.Node) error {
			n.Refused++
			// 4 KiB more each time: a page that is not there.
			n.Last.Message = strings.Repeat("x", n.Refused*4096)
			return nil
		})
		return err
	}
	var err error
	changed := 0
	for changed < 100 {
		if err = change(); err != nil {
			break
		}
		changed++
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	if got := count(s); got != changed {
		t.Errorf("a change that failed is seen: %d, want %d", got, changed)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if got := count(s); got != changed {
		t.Errorf("after a restart: %d, want %d", got, changed)
	}
	if err := change(); err != nil || count(s) != changed+1 {
		t.Errorf("with room again: %v, %d", err, count(s))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// Nor does a new file begin on a full disk.
	fill(t, filler)
	fresh := filepath.Join(dir, "fresh.db")
	if s, err := boltstore.Open(fresh, cluster); err == nil {
		t.Error(errors.Join(errors.New("a store began on a full disk"), s.Close()))
	}
	if _, err := os.Stat(fresh); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a store is there: %v", err)
	}
}

// fill takes what room there is.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
