package tree

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Kind of an entry.
type Kind string

// The kinds.
const (
	Dir     Kind = "dir"
	File    Kind = "file"
	Symlink Kind = "symlink"
)

// An Entry is one file, folder or symbolic link.
type Entry struct {
	// Path is relative to the root, clean, without a leading slash.
	Path string
	Kind Kind
	// Mode holds the permission bits, set-user-ID and sticky included.
	Mode     fs.FileMode
	UID, GID int
	// Target of a symbolic link.
	Target string
	// Content of a file, or Open where the content is large and elsewhere;
	// then Size is its length.
	Content []byte
	Open    func() (io.ReadCloser, error)
	Size    int64
}

// A Tree is a list of entries. [New] makes one in order.
type Tree []Entry

// New sorts entries by path and adds the folders above them that are not
// listed, with mode 0755. Two entries of one path are a mistake.
func New(entries []Entry) (Tree, error) {
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		if e.Path == "" || e.Path != path.Clean(e.Path) || strings.HasPrefix(e.Path, "/") || strings.HasPrefix(e.Path, "..") {
			return nil, fmt.Errorf("building a tree: path %q is not clean and relative", e.Path)
		}
		if seen[e.Path] {
			return nil, fmt.Errorf("building a tree: /%s is there twice", e.Path)
		}
		seen[e.Path] = true
	}
	out := slices.Clone(entries)
	for _, e := range entries {
		for p := path.Dir(e.Path); p != "." && !seen[p]; p = path.Dir(p) {
			seen[p] = true
			out = append(out, Entry{Path: p, Kind: Dir, Mode: 0o755})
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// A Filter says whether an entry of a base archive is kept. The path is
// relative and clean.
type Filter func(path string) bool

// Clean returns the name of a tar entry as the path of an [Entry]: relative,
// without "." and "..", empty for the root itself.
func Clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// FromFile returns an entry whose content stays in a file of the host.
func FromFile(dst, src string, mode fs.FileMode) (Entry, error) {
	st, err := os.Stat(src)
	if err != nil {
		return Entry{}, fmt.Errorf("adding /%s: %w", dst, err)
	}
	return Entry{
		Path: dst, Kind: File, Mode: mode, Size: st.Size(),
		Open: func() (io.ReadCloser, error) { return os.Open(src) },
	}, nil
}

// WriteTar writes the tree as a tar archive without an end marker, so that
// more may follow; the caller closes w.
func (t Tree) WriteTar(w *tar.Writer, epoch time.Time) error {
	for _, e := range t {
		if err := writeEntry(w, e, epoch); err != nil {
			return fmt.Errorf("writing /%s: %w", e.Path, err)
		}
	}
	return nil
}

func writeEntry(w *tar.Writer, e Entry, epoch time.Time) error {
	h := &tar.Header{
		Name: e.Path, Mode: tarMode(e.Mode), Uid: e.UID, Gid: e.GID,
		ModTime: epoch, Format: tar.FormatPAX,
	}
	switch e.Kind {
	case Dir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
		return w.WriteHeader(h)
	case Symlink:
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.Target, 0o777
		return w.WriteHeader(h)
	case File:
		h.Typeflag, h.Size = tar.TypeReg, int64(len(e.Content))
		if e.Open != nil {
			h.Size = e.Size
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if e.Open == nil {
			_, err := w.Write(e.Content)
			return err
		}
		r, err := e.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(w, r)
		return err
	}
	return fmt.Errorf("internal error: entry of kind %q", e.Kind)
}

func tarMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	if m&fs.ModeSetuid != 0 {
		mode |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		mode |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}
