package source

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// memberFormat changes when the same archive and member would give another
// file than before.
const memberFormat = "member/1"

// maxLinks is how many links are followed from one member to the next.
const maxLinks = 16

// Extract returns the digest of one file of an archive, both of which are in
// the cache. The archive is a tar archive, plain or compressed with gzip,
// xz or zstd, or a zip file; its content says which. Links are followed
// inside the archive. Name is that of the archive, for errors.
func (c Cache) Extract(ctx context.Context, name, archive, member string) (string, error) {
	const output = "file"
	key := SumJSON([]string{memberFormat, archive, member})
	if out, ok := c.Lookup(key); ok {
		return out[output], nil
	}
	digest, err := c.extract(ctx, archive, member)
	if err != nil {
		return "", fmt.Errorf("extracting %q from %s: %w", member, name, err)
	}
	return digest, c.Record(key, Outputs{output: digest})
}

func (c Cache) extract(ctx context.Context, archive, member string) (string, error) {
	work, err := c.WorkDir("member")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	file := filepath.Join(work, "file")
	at := clean(member)
	for range maxLinks {
		next, err := c.copyMember(ctx, archive, at, file)
		if err != nil {
			return "", err
		}
		if next == "" {
			return c.Adopt(file)
		}
		at = next
	}
	return "", fmt.Errorf("more than %d links lead from one to the next", maxLinks)
}

// copyMember copies one member to file, or returns the one that it links to.
// All of the archive is read, so that its digest is known to be right.
func (c Cache) copyMember(ctx context.Context, archive, member, file string) (next string, err error) {
	r, err := c.Open(archive)
	if err != nil {
		return "", err
	}
	defer r.Close()
	in := bufio.NewReaderSize(contextReader{ctx, r}, 1<<20)
	head, _ := in.Peek(8)
	m := memberCopy{member: member, file: file}
	if bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		if _, err := io.Copy(io.Discard, in); err != nil {
			return "", err
		}
		return m.zip(c.Path(archive))
	}
	content, done, err := expand(in, head)
	if err != nil {
		return "", err
	}
	defer done()
	err = m.tar(tar.NewReader(content))
	// Read what is behind the archive's end, if only to check the digest, and
	// say first what is wrong with it: that explains any other error.
	if _, restErr := io.Copy(io.Discard, in); restErr != nil {
		return "", restErr
	}
	if err != nil {
		return "", err
	}
	return m.result()
}

// expand returns the content of a compressed file, which begins with head.
func expand(in io.Reader, head []byte) (content io.Reader, done func(), err error) {
	nothing := func() {}
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		content, err = gzip.NewReader(in)
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		content, err = xz.NewReader(in)
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		d, zstdErr := zstd.NewReader(in, zstd.WithDecoderConcurrency(1))
		if zstdErr == nil {
			return d, d.Close, nil
		}
		err = zstdErr
	default:
		content = in
	}
	if err != nil {
		return nil, nothing, fmt.Errorf("reading the archive: %w", err)
	}
	return content, nothing, nil
}

// memberCopy looks for a member and copies it.
type memberCopy struct {
	member, file string
	// found says that the member is there: as a file, or as a link to next.
	found bool
	next  string
	// names are those of the other files.
	names []string
}

func (m *memberCopy) tar(r *tar.Reader) error {
	for first := true; ; first = false {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && first:
			return errors.New("it is neither a tar archive nor a zip file; remove spec.downloads[].member if it is the file itself")
		case err != nil:
			return fmt.Errorf("reading the archive: %w", err)
		}
		name := clean(h.Name)
		if name != m.member {
			if h.Typeflag != tar.TypeDir {
				m.names = append(m.names, name)
			}
			continue
		}
		// A later entry of the same name replaces an earlier one.
		e := memberEntry{mode: h.FileInfo().Mode(), target: h.Linkname}
		if e.hard = h.Typeflag == tar.TypeLink; e.hard {
			e.target = clean(h.Linkname)
		}
		if err := m.take(e, r); err != nil {
			return err
		}
	}
}

func (m *memberCopy) zip(file string) (string, error) {
	r, err := zip.OpenReader(file)
	if err != nil {
		return "", fmt.Errorf("reading the archive: %w", err)
	}
	defer r.Close() //nolint:errcheck // what was read needs no good end
	for _, f := range r.File {
		name := clean(f.Name)
		if name != m.member {
			if !f.FileInfo().IsDir() {
				m.names = append(m.names, name)
			}
			continue
		}
		if err := m.zipEntry(f); err != nil {
			return "", err
		}
	}
	return m.result()
}

func (m *memberCopy) zipEntry(f *zip.File) error {
	content, err := f.Open()
	if err != nil {
		return fmt.Errorf("reading the archive: %w", err)
	}
	defer content.Close()
	e := memberEntry{mode: f.Mode()}
	if f.Mode()&fs.ModeSymlink != 0 {
		// A zip file has the target as the content.
		b, err := io.ReadAll(io.LimitReader(content, 4096))
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		e.target = string(b)
	}
	return m.take(e, content)
}

// memberEntry is what an archive says about a member.
type memberEntry struct {
	mode fs.FileMode
	// hard says that it is a hard link. Its target is a member, that of a
	// symbolic link is relative to the member's folder.
	hard   bool
	target string
}

// take takes the wanted member: a file's content, or a link's target.
func (m *memberCopy) take(e memberEntry, content io.Reader) error {
	m.found, m.next = true, ""
	switch {
	case e.hard:
		m.next = e.target
	case e.mode&fs.ModeSymlink != 0:
		joined := path.Join(path.Dir(m.member), e.target)
		if path.IsAbs(e.target) || joined == ".." || strings.HasPrefix(joined, "../") {
			return fmt.Errorf("it is a symbolic link to %q, which is not in the archive", e.target)
		}
		m.next = clean(joined)
	case e.mode.IsRegular():
		return m.write(content)
	default:
		return fmt.Errorf("it is not a file, but has the mode %s", e.mode)
	}
	return nil
}

func (m *memberCopy) write(content io.Reader) error {
	f, err := os.Create(m.file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, content); err != nil {
		return fmt.Errorf("reading the archive: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Chmod(0o644)); err != nil {
		return err
	}
	return f.Close()
}

func (m *memberCopy) result() (string, error) {
	if m.found {
		return m.next, nil
	}
	if len(m.names) == 0 {
		return "", errors.New("the archive holds no files")
	}
	return "", fmt.Errorf("the archive has no such file; it has %s", few(nearestNames(m.member, m.names)))
}

// nearestNames sorts names: first those with the same last element, then those
// in the same folder, then the others.
func nearestNames(member string, names []string) []string {
	rank := func(name string) int {
		switch {
		case path.Base(name) == path.Base(member):
			return 0
		case strings.Contains(path.Base(name), path.Base(member)) || strings.Contains(path.Base(member), path.Base(name)):
			return 1
		case path.Dir(name) == path.Dir(member):
			return 2
		}
		return 3
	}
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	slices.SortStableFunc(sorted, func(a, b string) int { return rank(a) - rank(b) })
	return slices.Compact(sorted)
}

// clean is the one form of a member's path.
func clean(name string) string { return strings.TrimPrefix(path.Join("/", name), "/") }

// contextReader stops when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
