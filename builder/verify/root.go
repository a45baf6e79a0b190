package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/images"
)

// maxText is the size up to which files that are looked into are kept.
const maxText = 8 << 20

// rootFS is what is known of the root file system after it was read once.
type rootFS struct {
	nodes map[string]node
	// sums are the SHA-256 of the files that the manifest lists, empty for
	// those that are not read yet; texts are the content of those that are
	// looked into.
	sums  map[string]string
	texts map[string]string
	order []node
}

// root checks the root: its hash tree and its content. Copies of it in other
// artifacts are compared with the one that is checked.
func (v *verifier) root() {
	if len(v.roots) == 0 {
		if slices.Equal(v.recipe.Spec.Outputs, []images.Output{images.OutputInstaller}) {
			return // which takes one from a server
		}
		v.add(images.ManifestFile, bakeAgain, "no artifact has a root")
		return
	}
	p := v.roots[0]
	v.checkVerity(p)
	v.later("root", p.artifact, func() error {
		if p.file == "" {
			name := filepath.Join(v.work, "root.squashfs")
			if err := copyOut(p, name); err != nil {
				return err
			}
			defer os.Remove(name)
			p.file, p.offset = name, 0
		}
		root := &rootFS{nodes: map[string]node{}, sums: map[string]string{}, texts: map[string]string{}}
		if err := v.readRoot(p, root); err != nil {
			return err
		}
		v.checkRoot(p.artifact, root)
		return nil
	})
}

func copyOut(p piece, name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, io.NewSectionReader(p.r, 0, p.size)); err != nil {
		return err
	}
	return f.Close()
}

// checkVerity checks the hash tree behind the squashfs, and its places.
func (v *verifier) checkVerity(p piece) {
	info := v.m.Root
	v.now("verity", p.artifact, func() error {
		if info.Size <= 0 || info.Size%verityBlock != 0 || info.Total != p.size {
			return fmt.Errorf("the root has %d bytes, and the manifest says %d, of which %d are the squashfs", p.size, info.Total, info.Size)
		}
		t, err := openVerity(p.r, info.Size, info.RootHash)
		if err != nil {
			return fmt.Errorf("dm-verity: %w", err)
		}
		if salt := hex.EncodeToString(t.salt); salt != info.Salt {
			return fmt.Errorf("dm-verity: the salt is %s, and the manifest says %s", salt, info.Salt)
		}
		if t.blocks != info.Size/verityBlock || t.end != info.Total {
			return fmt.Errorf("dm-verity: the tree is of %d blocks and ends at %d, and the manifest says %d and %d",
				t.blocks, t.end, info.Size/verityBlock, info.Total)
		}
		t.checkData(v.ctx, func(part func() error) {
			v.later("verity", p.artifact, func() error {
				if err := part(); err != nil {
					return fmt.Errorf("dm-verity: %w", err)
				}
				return nil
			})
		})
		return nil
	})
}

// Fields of the squashfs superblock, from the kernel's
// Documentation/filesystems/squashfs.rst.
const squashfsTimeAt = 8

func (v *verifier) readRoot(p piece, root *rootFS) error {
	b := make([]byte, 96)
	if _, err := p.r.ReadAt(b, 0); err != nil {
		return err
	}
	if made := int64(binary.LittleEndian.Uint32(b[squashfsTimeAt:])); made > v.epoch() {
		v.add(p.artifact, bakeAgain, "the squashfs is of %s, later than the epoch", utc(made))
	}
	for _, f := range v.m.Files {
		if f.SHA256 != "" {
			root.sums[f.Path] = ""
		}
	}
	for _, c := range v.m.Provisioned {
		if c.SHA256 != "" {
			root.sums[c.Path] = ""
		}
	}
	err := unpackRoot(v.ctx, p, v.o.Jobs, v.o.Env, func(n node) error {
		if _, twice := root.nodes[n.path]; twice {
			return fmt.Errorf("%s is there twice", n.path)
		}
		root.nodes[n.path] = n
		root.order = append(root.order, n)
		if n.kind == 'R' {
			v.report.RootFiles++
			v.report.RootBytes += n.size
		}
		return nil
	}, func(n node, r io.Reader) error {
		return root.take(n, r)
	})
	if err != nil {
		return err
	}
	for _, n := range root.order { // a hard link has the content of its file
		if n.kind == 'L' {
			root.link(n)
		}
	}
	return nil
}

// take reads what is needed of a file.
func (fs *rootFS) take(n node, r io.Reader) error {
	_, sum := fs.sums[n.path]
	keep := n.size <= maxText && lookedInto(n.path)
	if !keep && !sum {
		return nil
	}
	h := sha256.New()
	var text strings.Builder
	var w io.Writer = h
	if keep {
		w = io.MultiWriter(h, &text)
	}
	if got, err := io.Copy(w, r); err != nil {
		return unexpected(err)
	} else if got != n.size {
		return io.ErrUnexpectedEOF
	}
	if sum {
		fs.sums[n.path] = hex.EncodeToString(h.Sum(nil))
	}
	if keep {
		fs.texts[n.path] = text.String()
	}
	return nil
}

func (fs *rootFS) link(n node) {
	to, ok := fs.nodes[n.target]
	if !ok {
		return
	}
	p, target := n.path, n.target
	n = to
	n.path = p
	fs.nodes[p] = n
	if s, ok := fs.sums[target]; ok {
		fs.sums[p] = s
	}
	if s, ok := fs.texts[target]; ok {
		fs.texts[p] = s
	}
}

// lookedInto reports whether the content of a file is looked into.
func lookedInto(p string) bool {
	for _, dir := range []string{"/etc/", "/root/", "/home/", "/var/home/", "/var/roothome/", "/usr/lib/systemd/", "/usr/lib/sysctl.d/", "/usr/lib/modules-load.d/", "/usr/lib/sysusers.d/"} {
		if strings.HasPrefix(p, dir) {
			return true
		}
	}
	return p == dpkgStatus || p == "/usr/lib/os-release" || path.Base(p) == "modules.builtin"
}

// resolve follows symbolic links in a path, and returns where it leads.
func (fs *rootFS) resolve(p string) (node, bool) {
	const maxLinks = 40 // as Linux has it
	p = path.Clean(p)
	for range maxLinks {
		at, rest, link := "/", strings.TrimPrefix(p, "/"), false
		for rest != "" {
			var elem string
			elem, rest, _ = strings.Cut(rest, "/")
			at = path.Join(at, elem)
			n, ok := fs.nodes[at]
			if !ok {
				return node{}, false
			}
			if n.kind == 'S' {
				p = path.Join(path.Dir(at), n.target, rest)
				if path.IsAbs(n.target) {
					p = path.Join(n.target, rest)
				}
				link = true
				break
			}
		}
		if !link {
			n, ok := fs.nodes[at]
			return n, ok
		}
	}
	return node{}, false
}

// text returns the content of a file, through symbolic links.
func (fs *rootFS) text(p string) (string, bool) {
	n, ok := fs.resolve(p)
	if !ok {
		return "", false
	}
	s, ok := fs.texts[n.path]
	return s, ok
}

// checkRoot holds the root against the recipe.
func (v *verifier) checkRoot(artifact string, root *rootFS) {
	c := rootCheck{v: v, artifact: artifact, fs: root}
	c.files()
	c.units()
	c.settings()
	c.kernel()
	c.forbidden()
	c.packages()
	c.osRelease()
}

// rootCheck is a check of one root.
type rootCheck struct {
	v        *verifier
	artifact string
	fs       *rootFS
}

func (c rootCheck) add(remedy, format string, args ...any) {
	c.v.add(c.artifact, remedy, format, args...)
}

func (v *verifier) epoch() int64 { return v.recipe.Spec.Epoch.Unix() }

func utc(seconds int64) string { return time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04:05") }

// files compares the files of the manifest with the root.
func (c rootCheck) files() {
	for _, want := range c.v.m.Files {
		if err := c.compareFile(want); err != nil {
			c.add(bakeAgain, "%s %v", want.Path, err)
		}
	}
	if n := len(c.v.m.Provisioned); n > 0 {
		c.v.note("%d files were changed by provisioners, which no lock covers: the manifest names them", n)
	}
	for _, change := range c.v.m.Provisioned {
		if err := c.compareChange(change); err != nil {
			c.add(bakeAgain, "%s, which was %s after the recipe's files, %v", change.Path, change.Change, err)
		}
	}
}

// compareChange compares a change of the manifest with the root.
func (c rootCheck) compareChange(change images.Change) error {
	if change.Dropped {
		return nil
	}
	_, there := c.fs.nodes[change.Path]
	switch {
	case change.Change == images.ChangeRemoved && there:
		return errors.New("is there")
	case change.Change == images.ChangeRemoved:
		return nil
	case change.Special != "" && !there:
		return errors.New("is missing")
	case change.Special != "":
		return nil
	}
	return c.compareFile(change.InstalledFile)
}

func (c rootCheck) compareFile(want images.InstalledFile) error {
	got, ok := c.fs.nodes[want.Path]
	if !ok {
		return errors.New("is missing")
	}
	kind := byte('R')
	switch {
	case want.Symlink != "":
		kind = 'S'
	case want.Directory:
		kind = 'D'
	}
	switch {
	case got.kind != kind:
		return fmt.Errorf("is %s, and should be %s", kindName(got.kind), kindName(kind))
	case kind == 'S' && got.target != want.Symlink:
		return fmt.Errorf("points to %s, and should to %s", got.target, want.Symlink)
	case kind != 'S' && got.mode != want.Mode:
		return fmt.Errorf("has mode %04o, and should have %04o", got.mode, want.Mode)
	case got.uid != want.UID || got.gid != want.GID:
		return fmt.Errorf("belongs to %d:%d, and should to %d:%d", got.uid, got.gid, want.UID, want.GID)
	case kind == 'R' && c.fs.sums[want.Path] != want.SHA256:
		return errors.New("has other content than the manifest says")
	}
	return nil
}

func kindName(kind byte) string {
	switch kind {
	case 'D':
		return "a folder"
	case 'R':
		return "a file"
	case 'S':
		return "a symbolic link"
	case 'B', 'C':
		return "a device"
	}
	return "a socket or pipe"
}

func (c rootCheck) osRelease() {
	text, ok := c.fs.text("/usr/lib/os-release")
	if !ok {
		c.add(bakeAgain, "/usr/lib/os-release is missing")
		return
	}
	for _, o := range c.v.osRelease {
		if o.text != text {
			c.v.add(o.artifact, bakeAgain, "the UKI's section .osrel is not /usr/lib/os-release of the root")
		}
	}
}
