package chroot_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/builder/chroot"
	"github.com/k8snode/k8snode/images"
)

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Every kind of change is seen, and what was written anew as it was is none.
func TestCompare(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	at := func(p string) string { return filepath.Join(dir, p) }
	for _, name := range []string{"same", "rewritten", "content", "mode", "gone", "tree/a", "tree/b", "becomes-link", "dropped/x", "xattr"} {
		write(t, at(name), name)
	}
	if err := os.Symlink("same", at("link")); err != nil {
		t.Fatal(err)
	}
	root := chroot.Root{Dir: dir}
	keep := func(p string) bool { return !strings.HasPrefix(p, "dropped/") }
	before, err := root.Scan(ctx, keep, nil)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond) // the clock of inodes is coarse

	write(t, at("rewritten"), "rewritten")
	write(t, at("content"), "CONTENT")
	write(t, at("new"), "new")
	write(t, at("dropped/y"), "nobody looks")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(at("mode"), 0o755|os.ModeSetuid))
	must(os.Remove(at("gone")))
	must(os.RemoveAll(at("tree")))
	must(os.Remove(at("becomes-link")))
	must(os.Symlink("elsewhere", at("becomes-link")))
	must(os.Remove(at("link")))
	must(os.Symlink("content", at("link")))
	must(os.Mkdir(at("folder"), 0o700))
	must(unix.Mkfifo(at("pipe"), 0o600))
	xattrs := unix.Setxattr(at("xattr"), "user.k8snode", []byte("1"), 0) == nil

	after, err := root.Scan(ctx, keep, before)
	must(err)
	got := map[string]string{}
	for _, c := range chroot.Compare(before, after) {
		got[c.Path] = string(c.Change)
	}
	want := map[string]string{
		"/becomes-link": "modified", "/content": "modified", "/folder": "added", "/gone": "removed", "/link": "modified",
		"/mode": "modified", "/new": "added", "/pipe": "added", "/tree": "removed", "/tree/a": "removed", "/tree/b": "removed",
	}
	if xattrs {
		want["/xattr"] = "modified"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range chroot.Compare(before, after) {
		switch {
		case c.Path == "/becomes-link" && (c.Symlink != "elsewhere" || c.SHA256 != ""),
			c.Path == "/mode" && c.Mode != 0o4755,
			c.Path == "/pipe" && !strings.HasPrefix(c.Special, "p"),
			c.Path == "/folder" && !c.Directory,
			c.Change == images.ChangeRemoved && c.InstalledFile != images.InstalledFile{Path: c.Path}:
			t.Errorf("%+v", c)
		}
	}
	// Whether digests are taken from an earlier scan makes no difference.
	fresh, err := root.Scan(ctx, keep, nil)
	must(err)
	if changes := chroot.Compare(fresh, after); len(changes) > 0 {
		t.Errorf("a fresh scan differs: %+v", changes)
	}
}
