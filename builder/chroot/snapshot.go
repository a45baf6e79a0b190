package chroot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/images"
)

// A Snapshot is what a root holds, by path.
type Snapshot map[string]file

// file is one of them.
type file struct {
	images.InstalledFile

	// other describes what is neither file, folder nor symbolic link.
	other  string
	xattrs string
	// inode and changed tell whether the content has to be read again.
	inode   uint64
	changed syscall.Timespec
}

// Scan reads the root, but for what keep drops; nil keeps everything. Of files
// that former has, and that nobody has written to since, it takes the digest
// from there.
func (r Root) Scan(ctx context.Context, keep tree.Filter, former Snapshot) (Snapshot, error) {
	all := Snapshot{}
	var unread []string
	err := filepath.WalkDir(r.Dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == r.Dir {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		p := strings.TrimPrefix(name, r.Dir+"/")
		if keep != nil && !keep(p) {
			return nil
		}
		f, err := stat(name)
		if err != nil {
			return err
		}
		f.Path = "/" + p
		if d.Type().IsRegular() {
			if old, ok := former[p]; ok && old.inode == f.inode && old.changed == f.changed {
				f.SHA256 = old.SHA256
			} else {
				unread = append(unread, p)
			}
		}
		all[p] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the root: %w", err)
	}
	sums := make([]string, len(unread))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range unread {
		g.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			sums[i], _, err = source.SumFile(filepath.Join(r.Dir, p))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("reading the root: %w", err)
	}
	for i, p := range unread {
		f := all[p]
		f.SHA256 = sums[i]
		all[p] = f
	}
	return all, nil
}

func stat(name string) (file, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return file{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return file{}, fmt.Errorf("%s: no Linux file system", name)
	}
	f := file{inode: st.Ino, changed: st.Ctim}
	f.UID, f.GID, f.Mode = int(st.Uid), int(st.Gid), st.Mode&0o7777
	switch info.Mode().Type() {
	case 0:
	case fs.ModeDir:
		f.Directory = true
	case fs.ModeSymlink:
		f.Mode = 0
		if f.Symlink, err = os.Readlink(name); err != nil {
			return file{}, err
		}
	default:
		f.other = fmt.Sprintf("%s %d", info.Mode().Type(), st.Rdev)
	}
	f.xattrs, err = xattrs(name)
	return f, err
}

// xattrs returns the extended attributes that an image would have.
func xattrs(name string) (string, error) {
	list := make([]byte, 64<<10) // the kernel's limit
	n, err := unix.Llistxattr(name, list)
	if errors.Is(err, unix.ENOTSUP) || n == 0 {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: reading its attributes: %w", name, err)
	}
	var all []string
	value := make([]byte, 64<<10)
	for key := range strings.SplitSeq(strings.TrimRight(string(list[:n]), "\x00"), "\x00") {
		if strings.HasPrefix(key, "system.") {
			continue
		}
		v, err := unix.Lgetxattr(name, key, value)
		if err != nil {
			return "", fmt.Errorf("%s: reading its attribute %s: %w", name, key, err)
		}
		all = append(all, fmt.Sprintf("%s=%x", key, value[:v]))
	}
	slices.Sort(all)
	return strings.Join(all, " "), nil
}

// same reports whether two files are equal to who looks at the image.
func (f file) same(g file) bool {
	return f.InstalledFile == g.InstalledFile && f.other == g.other && f.xattrs == g.xattrs
}

// Compare returns what differs between two snapshots, sorted by path.
func Compare(before, after Snapshot) []images.Change {
	var all []images.Change
	for p, f := range after {
		old, ok := before[p]
		switch {
		case !ok:
			all = append(all, f.change(images.ChangeAdded))
		case !f.same(old):
			all = append(all, f.change(images.ChangeModified))
		}
	}
	for p := range maps.Keys(before) {
		if _, ok := after[p]; !ok {
			all = append(all, images.Change{Change: images.ChangeRemoved, InstalledFile: images.InstalledFile{Path: "/" + p}})
		}
	}
	slices.SortFunc(all, func(a, b images.Change) int { return strings.Compare(a.Path, b.Path) })
	return all
}

func (f file) change(kind images.ChangeKind) images.Change {
	return images.Change{Change: kind, InstalledFile: f.InstalledFile, Special: f.other, Xattrs: f.xattrs}
}
