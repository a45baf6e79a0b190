package squashfs

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/builder/tree"
)

// Kind of an entry. The numbers of the first seven are those of a directory
// listing of the format.
type Kind uint8

// The kinds.
const (
	Directory Kind = iota + 1
	File
	Symlink
	BlockDevice
	CharDevice
	FIFO
	Socket
	// HardLink is another name of a file (or of anything but a folder).
	HardLink
)

// An Entry is one name of a layer.
type Entry struct {
	// Path is relative to the root, clean, without a leading slash. The root
	// itself has no entry: it is root's, with mode 0755.
	Path string
	Kind Kind
	// Mode is the lower 12 bits of st_mode.
	Mode     uint16
	UID, GID uint32
	// Xattrs are extended attributes by their full name, such as
	// security.capability. The format knows the prefixes user., trusted. and
	// security.
	Xattrs map[string]string
	// Target of a symbolic link as it is, of a hard link as a Path of the same
	// layer that is not a hard link itself. Hard links have nothing else.
	Target string
	// Major and Minor of a device.
	Major, Minor uint32
	// Open reads the Size bytes of a file. It may be called more than once;
	// it may be nil when Size is zero.
	Open func() (io.ReadCloser, error)
	Size int64
}

// FromTree returns the entries of a tree.
func FromTree(t tree.Tree) []Entry {
	entries := make([]Entry, 0, len(t))
	for _, e := range t {
		out := Entry{Path: e.Path, Mode: mode(e.Mode), UID: uint32(e.UID), GID: uint32(e.GID)}
		switch e.Kind {
		case tree.Dir:
			out.Kind = Directory
		case tree.Symlink:
			out.Kind, out.Mode, out.Target = Symlink, 0o777, e.Target
		case tree.File:
			out.Kind, out.Open, out.Size = File, e.Open, e.Size
			if e.Open == nil {
				content := e.Content
				out.Size = int64(len(content))
				out.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
			}
		}
		entries = append(entries, out)
	}
	return entries
}

func mode(m fs.FileMode) uint16 {
	bits := uint16(m.Perm())
	if m&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}

// Beneath returns the filter of a layer that lies below others: it drops the
// given paths, which they replace, with all below these, and what keep drops. A
// nil keep keeps everything.
func Beneath(keep tree.Filter, paths []string) tree.Filter {
	replaced := make(map[string]bool, len(paths))
	for _, p := range paths {
		replaced[p] = true
	}
	return func(p string) bool {
		for d := p; d != "."; d = path.Dir(d) {
			if replaced[d] {
				return false
			}
		}
		return keep == nil || keep(p)
	}
}

// ordered returns the entries sorted by path, when they are a layer.
func ordered(entries []Entry) ([]Entry, error) {
	entries = slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	kinds := make(map[string]Kind, len(entries))
	for _, e := range entries {
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("/%s: %w", e.Path, err)
		}
		if _, twice := kinds[e.Path]; twice {
			return nil, fmt.Errorf("/%s: it is there twice", e.Path)
		}
		kinds[e.Path] = e.Kind
	}
	for _, e := range entries {
		above := path.Dir(e.Path)
		for above != "." && kinds[above] == 0 {
			above = path.Dir(above)
		}
		if above != "." && kinds[above] != Directory {
			return nil, fmt.Errorf("/%s: /%s, which it is in, is not a folder", e.Path, above)
		}
		if e.Kind != HardLink {
			continue
		}
		switch kind, ok := kinds[e.Target]; {
		case !ok:
			return nil, fmt.Errorf("/%s: it is a hard link to /%s, which is not there", e.Path, e.Target)
		case kind == HardLink, kind == Directory:
			return nil, fmt.Errorf("/%s: it is a hard link to /%s, which is a folder or itself a hard link", e.Path, e.Target)
		}
	}
	return entries, nil
}

func (e Entry) check() error {
	switch {
	case e.Path == "" || e.Path == "." || tree.Clean(e.Path) != e.Path:
		return fmt.Errorf("path %q is not clean and relative", e.Path)
	case strings.ContainsRune(e.Path, 0):
		return fmt.Errorf("path %q has a NUL", e.Path)
	case e.Kind < Directory || e.Kind > HardLink:
		return fmt.Errorf("internal error: kind %d", e.Kind)
	case e.Mode > 0o7777:
		return fmt.Errorf("mode %#o is more than 12 bits", e.Mode)
	case e.Kind == Symlink && (e.Target == "" || len(e.Target) > maxTarget):
		return fmt.Errorf("the target has %d bytes; 1 to %d are possible", len(e.Target), maxTarget)
	case (e.Kind == BlockDevice || e.Kind == CharDevice) && (e.Major >= 1<<12 || e.Minor >= 1<<20):
		return fmt.Errorf("device %d:%d is more than 12 and 20 bits", e.Major, e.Minor)
	case e.Kind == File && (e.Size < 0 || e.Size > 0 && e.Open == nil):
		return fmt.Errorf("internal error: %d bytes and no way to read them", e.Size)
	}
	for _, name := range strings.Split(e.Path, "/") {
		if len(name) > maxName {
			return fmt.Errorf("a name has %d bytes; Linux opens at most %d", len(name), maxName)
		}
	}
	for name, value := range e.Xattrs {
		if _, _, err := splitXattr(name); err != nil {
			return err
		}
		if len(value) > maxXattrValue {
			return fmt.Errorf("attribute %s has %d bytes; Linux takes at most %d", name, len(value), maxXattrValue)
		}
	}
	return nil
}
