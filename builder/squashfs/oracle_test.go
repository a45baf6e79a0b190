package squashfs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/builder/squashfs"
)

// The oracles are other people's readers: unsquashfs, and the kernel.

// unsquashfs unpacks an image and returns the folder.
func unsquashfs(t *testing.T, image string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("unsquashfs"); err != nil {
		t.Skip("no unsquashfs: scripts/host-packages.sh test installs it")
	}
	if os.Getuid() != 0 {
		t.Skip("unpacking owners and devices needs root")
	}
	dir := filepath.Join(t.TempDir(), "root")
	args = append(args, "-quiet", "-no-progress", "-strict-errors", "-dest", dir, image)
	out, err := exec.CommandContext(t.Context(), "unsquashfs", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("unsquashfs: %v\n%s", err, out)
	}
	return dir
}

// mount mounts an image and returns the folder.
func mount(t *testing.T, image string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "mount", "-t", "squashfs", "-o", "loop,ro", image, dir).CombinedOutput()
	if err != nil {
		// A kernel with squashfs and loop devices must take what we write.
		known, _ := os.ReadFile("/proc/filesystems")
		if _, err := os.Stat("/dev/loop-control"); err == nil && bytes.Contains(known, []byte("\tsquashfs\n")) && !bytes.Contains(out, []byte("permission denied")) {
			t.Fatalf("mount: %s", out)
		}
		t.Skipf("this kernel mounts no squashfs: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	return dir
}

// dump describes a folder, one row for each name: kind and mode, owner, what is
// in it, and for what has several names the first of them.
func dump(t *testing.T, root string) []string {
	t.Helper()
	var rows []string
	first := map[uint64]string{}
	err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		p, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r := row{mode: uint16(st.Mode & 0o7777), uid: st.Uid, gid: st.Gid, links: int(st.Nlink)}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			r.kind, r.links = squashfs.Directory, 1
		case unix.S_IFREG:
			r.kind = squashfs.File
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			r.content = describe(b)
		case unix.S_IFLNK:
			r.kind = squashfs.Symlink
			if r.content, err = os.Readlink(name); err != nil {
				return err
			}
		case unix.S_IFBLK:
			r.kind = squashfs.BlockDevice
			r.content = fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		case unix.S_IFCHR:
			r.kind = squashfs.CharDevice
			r.content = fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		case unix.S_IFIFO:
			r.kind = squashfs.FIFO
		case unix.S_IFSOCK:
			r.kind = squashfs.Socket
		}
		if r.links > 1 {
			if first[st.Ino] == "" {
				first[st.Ino] = p
			}
			r.first = first[st.Ino]
		}
		r.xattrs = attributes(t, name)
		rows = append(rows, r.text(p))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(rows)
	return rows
}

type row struct {
	kind     squashfs.Kind
	mode     uint16
	uid, gid uint32
	content  string
	xattrs   map[string]string
	links    int
	first    string
}

func (r row) text(p string) string {
	s := fmt.Sprintf("%s %c %04o %d:%d %s", p, " dfsbcpk"[r.kind], r.mode, r.uid, r.gid, r.content)
	for _, name := range slices.Sorted(maps.Keys(r.xattrs)) {
		s += fmt.Sprintf(" %s=%x", name, r.xattrs[name])
	}
	if r.links > 1 {
		s += fmt.Sprintf(" (%d names, %s)", r.links, r.first)
	}
	return s
}

func describe(b []byte) string {
	return fmt.Sprintf("%d %.8x", len(b), sha256.Sum256(b))
}

func attributes(t *testing.T, name string) map[string]string {
	t.Helper()
	list := make([]byte, 4096)
	n, err := unix.Llistxattr(name, list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil // a file system without any
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	attrs := map[string]string{}
	for attr := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if attr == "" || attr == "security.selinux" {
			continue
		}
		value := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(name, attr, value)
		if err != nil {
			t.Fatalf("%s: %s: %v", name, attr, err)
		}
		attrs[attr] = string(value[:n])
	}
	return attrs
}

// rows describes entries as dump does a folder.
func rows(t *testing.T, entries []squashfs.Entry) []string {
	t.Helper()
	names := map[string][]string{} // by the path that has the inode
	byPath := map[string]squashfs.Entry{".": {Kind: squashfs.Directory, Mode: 0o755}}
	for _, e := range entries {
		byPath[e.Path] = e
		for d := filepath.Dir(e.Path); d != "."; d = filepath.Dir(d) {
			if _, ok := byPath[d]; !ok {
				byPath[d] = squashfs.Entry{Kind: squashfs.Directory, Mode: 0o755}
			}
		}
		switch e.Kind {
		case squashfs.HardLink:
			names[e.Target] = append(names[e.Target], e.Path)
		case squashfs.Directory:
		default:
			names[e.Path] = append(names[e.Path], e.Path)
		}
	}
	var out []string
	for p, e := range byPath {
		owner := p
		if e.Kind == squashfs.HardLink {
			owner = e.Target
			e = byPath[owner]
		}
		r := row{kind: e.Kind, mode: e.Mode, uid: e.UID, gid: e.GID, xattrs: e.Xattrs, links: len(names[owner])}
		if r.links > 1 {
			// The first in the order of a walk, which is not that of strings.
			r.first = slices.MinFunc(names[owner], func(a, b string) int {
				return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
			})
		}
		switch e.Kind {
		case squashfs.File:
			r.content = describe(content(t, e))
		case squashfs.Symlink:
			r.content = e.Target
		case squashfs.BlockDevice, squashfs.CharDevice:
			r.content = fmt.Sprintf("%d:%d", e.Major, e.Minor)
		}
		out = append(out, r.text(p))
	}
	slices.Sort(out)
	return out
}

// compare checks an image with all oracles.
func compare(t *testing.T, image string, want []string) {
	t.Helper()
	t.Run("unsquashfs", func(t *testing.T) {
		if diff := cmp.Diff(want, dump(t, unsquashfs(t, image))); diff != "" {
			t.Errorf("unsquashfs reads (-want +got):\n%s", diff)
		}
	})
	t.Run("kernel", func(t *testing.T) {
		dir := mount(t, image)
		if diff := cmp.Diff(want, dump(t, dir)); diff != "" {
			t.Errorf("the kernel reads (-want +got):\n%s", diff)
		}
		checkKernel(t, dir)
	})
}

// checkKernel looks at what an unpacked tree does not have from the image:
// times, the links of folders, and lookups by name and by handle.
func checkKernel(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		if st.Mtim.Sec != epoch.Unix() {
			t.Errorf("%s is of %d, want %d", name, st.Mtim.Sec, epoch.Unix())
		}
		if _, _, err := unix.NameToHandleAt(unix.AT_FDCWD, name, 0); err != nil {
			t.Errorf("%s has no handle: %v", name, err)
		}
		if !d.IsDir() {
			return nil
		}
		entries, err := os.ReadDir(name)
		if err != nil {
			return err
		}
		links := uint64(2)
		for _, e := range entries {
			if e.IsDir() {
				links++
			}
		}
		if st.Nlink != links {
			t.Errorf("%s has %d links, want %d", name, st.Nlink, links)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(root, "there is no such name")); !os.IsNotExist(err) {
		t.Errorf("a name that is not there: %v", err)
	}
}
