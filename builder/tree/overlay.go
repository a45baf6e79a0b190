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
// Timestamps of the base that are later than the epoch become the epoch.
func Overlay(w io.Writer, base io.Reader, top Tree, keep Filter, epoch time.Time) error {
	out := tar.NewWriter(w)
	over := make(map[string]Kind, len(top))
	for _, e := range top {
		over[e.Path] = e.Kind
	}
	in := tar.NewReader(base)
	dirs := map[string]bool{} // folders that the base already wrote
	dropped := map[string]string{}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the base archive: %w", err)
		}
		p := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if p != "" && (replaced(over, p, h) || (keep != nil && !keep(p))) {
			if h.Typeflag == tar.TypeReg && h.Size > 0 {
				dropped[p] = h.Name
			}
			continue
		}
		if h.Typeflag == tar.TypeLink {
			target := strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")
			if _, gone := dropped[target]; gone {
				return fmt.Errorf("overlaying /%s: a hard link of the base, /%s, still needs it", target, p)
			}
		}
		if h.Typeflag == tar.TypeDir {
			dirs[p] = true
		}
		if h.ModTime.After(epoch) {
			h.ModTime = epoch
		}
		h.Uname, h.Gname = "", ""
		h.AccessTime, h.ChangeTime = time.Time{}, time.Time{}
		h.Format = tar.FormatPAX
		if err := out.WriteHeader(h); err != nil {
			return fmt.Errorf("copying /%s: %w", p, err)
		}
		if _, err := io.Copy(out, in); err != nil {
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

// replaced reports whether the tree holds the base's entry p, or holds
// something other than a folder at a place above it.
func replaced(over map[string]Kind, p string, h *tar.Header) bool {
	if kind, ok := over[p]; ok {
		return kind != Dir || h.Typeflag != tar.TypeDir
	}
	for d := path.Dir(p); d != "."; d = path.Dir(d) {
		if kind, ok := over[d]; ok && kind != Dir {
			return true
		}
	}
	return false
}
