package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// A Filter says whether an entry of a base archive is kept. The path is
// relative and clean.
type Filter func(path string) bool

// Overlay copies the archive base to w, without what the filter drops and
// what top replaces, then writes top. A nil filter keeps everything.
// Timestamps of the base that are later than the epoch become the epoch. A
// kept hard link to a dropped file becomes the file.
func Overlay(w io.Writer, base io.ReadSeeker, top Tree, keep Filter, epoch time.Time) error {
	o := overlay{over: make(map[string]Kind, len(top)), keep: keep}
	for _, e := range top {
		o.over[e.Path] = e.Kind
	}
	orphans, err := o.orphans(base)
	if err != nil {
		return fmt.Errorf("reading the base archive: %w", err)
	}
	if _, err := base.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the base archive: %w", err)
	}

	out := tar.NewWriter(w)
	dirs := map[string]bool{} // folders that the base already wrote
	in := tar.NewReader(base)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the base archive: %w", err)
		}
		p := Clean(h.Name)
		if o.dropped(p, h) {
			if orphan := orphans[p]; orphan != nil {
				if orphan.content, err = io.ReadAll(in); err != nil {
					return fmt.Errorf("reading /%s: %w", p, err)
				}
			}
			continue
		}
		var content io.Reader = in
		if orphan := orphans[Clean(h.Linkname)]; h.Typeflag == tar.TypeLink && orphan != nil {
			content = orphan.adopt(h, p)
		}
		if h.Typeflag == tar.TypeDir {
			dirs[p] = true
		}
		if err := copyEntry(out, h, content, epoch); err != nil {
			return fmt.Errorf("copying /%s: %w", p, err)
		}
	}
	for _, e := range top {
		if e.Kind == Dir && dirs[e.Path] {
			continue // the base's owner and mode stay
		}
		if err := writeEntry(out, e, epoch); err != nil {
			return fmt.Errorf("writing /%s: %w", e.Path, err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	return nil
}

type overlay struct {
	over map[string]Kind
	keep Filter
}

// dropped reports whether the base's entry p does not come along: the tree has
// it, has something other than a folder above it, or the filter says so.
func (o overlay) dropped(p string, h *tar.Header) bool {
	if p == "" {
		return true // the root itself
	}
	if kind, ok := o.over[p]; ok && (kind != Dir || h.Typeflag != tar.TypeDir) {
		return true
	}
	for d := path.Dir(p); d != "."; d = path.Dir(d) {
		if kind, ok := o.over[d]; ok && kind != Dir {
			return true
		}
	}
	return o.keep != nil && !o.keep(p)
}

// orphan is a dropped file that kept hard links point to.
type orphan struct {
	content []byte
	path    string // of the first link, once it is written
}

// adopt turns the header of a link into that of the file the first time, and
// into a link to that file afterwards.
func (f *orphan) adopt(h *tar.Header, p string) io.Reader {
	if f.path != "" {
		h.Linkname = f.path
		return strings.NewReader("")
	}
	f.path = p
	h.Typeflag, h.Linkname, h.Size = tar.TypeReg, "", int64(len(f.content))
	return strings.NewReader(string(f.content))
}

func (o overlay) orphans(base io.Reader) (map[string]*orphan, error) {
	dropped := map[string]bool{}
	found := map[string]*orphan{}
	in := tar.NewReader(base)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		p := Clean(h.Name)
		switch {
		case o.dropped(p, h):
			dropped[p] = h.Typeflag == tar.TypeReg
		case h.Typeflag == tar.TypeLink && dropped[Clean(h.Linkname)]:
			found[Clean(h.Linkname)] = &orphan{}
		}
	}
}

func copyEntry(out *tar.Writer, h *tar.Header, content io.Reader, epoch time.Time) error {
	if h.ModTime.After(epoch) {
		h.ModTime = epoch
	}
	h.Uname, h.Gname = "", ""
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
	h.Format = tar.FormatPAX
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(out, content)
	return err
}

// Clean returns the name of a tar entry as the path of an [Entry]: relative,
// without "." and "..", empty for the root itself.
func Clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}
