package tree_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/images"
)

func TestInstalled(t *testing.T) {
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := tree.FromFile("usr/bin/program", name, 0o755|fs.ModeSetuid)
	if err != nil {
		t.Fatal(err)
	}
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	got, err := tree.Installed([]tree.Entry{
		program,
		{Path: "etc/link", Kind: tree.Symlink, Target: "../a"},
		{Path: "etc/folder", Kind: tree.Dir, Mode: 0o777 | fs.ModeSticky, UID: 1, GID: 2},
		file("etc/a", "abc"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []images.InstalledFile{
		{Path: "/etc/a", SHA256: abc, Mode: 0o644},
		{Path: "/etc/folder", Directory: true, Mode: 0o1777, UID: 1, GID: 2},
		{Path: "/etc/link", Symlink: "../a"},
		{Path: "/usr/bin/program", SHA256: abc, Mode: 0o4755},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}

	broken := tree.Entry{Path: "etc/b", Kind: tree.File, Open: func() (io.ReadCloser, error) { return nil, errors.New("gone") }}
	if _, err := tree.Installed([]tree.Entry{broken}); err == nil || err.Error() != "reading /etc/b: gone" {
		t.Errorf("error %v, want reading /etc/b: gone", err)
	}
}
