package source

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Limits of what a package may say about itself.
const (
	maxControl        = 1 << 20
	maxControlArchive = 64 << 20
)

// Control returns the fields of the package at a path as its maintainers wrote
// them, each with its line end, without those that only people read.
func Control(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading the control file of a package: %w", err)
	}
	defer f.Close()
	control, err := readControl(bufio.NewReader(f))
	if err != nil {
		return "", fmt.Errorf("reading the control file of package %q: %w", filepath.Base(path), err)
	}
	return control, nil
}

// readControl reads the beginning of a package, deb(5): an ar archive of which
// the second member is a tar archive with the file control.
func readControl(r io.Reader) (string, error) {
	magic := make([]byte, 8)
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != "!<arch>\n" {
		return "", errors.New("not a Debian package")
	}
	for {
		name, size, err := arHeader(r)
		if err != nil {
			return "", err
		}
		member := io.LimitReader(r, size)
		if !strings.HasPrefix(name, "control.tar") {
			// Members begin at even offsets.
			if _, err := io.CopyN(io.Discard, r, size+size%2); err != nil {
				return "", err
			}
			continue
		}
		plain, err := openControl(name, member)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		text, err := controlFile(plain)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		return keepFields(text), nil
	}
}

// arHeader reads the header of a member, ar(5): name 16, time 12, owner 6,
// group 6, mode 8 and size 10 bytes, padded with blanks, then a magic of 2.
func arHeader(r io.Reader) (name string, size int64, err error) {
	var h [60]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("there is no control.tar")
		}
		return "", 0, err
	}
	if string(h[58:]) != "`\n" {
		return "", 0, errors.New("not a Debian package: a member has no header")
	}
	size, err = strconv.ParseInt(strings.TrimSpace(string(h[48:58])), 10, 64)
	if err != nil || size < 0 {
		return "", 0, fmt.Errorf("a member has the size %q", h[48:58])
	}
	return strings.TrimRight(strings.TrimSpace(string(h[:16])), "/"), size, nil
}

// openControl opens the member by the ending of its name.
func openControl(name string, r io.Reader) (io.Reader, error) {
	switch strings.TrimPrefix(name, "control.tar") {
	case "":
		return r, nil
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		return xz.NewReader(r)
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxControlArchive))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	default:
		return nil, errors.New("unknown compression")
	}
}

// controlFile returns the file control of a tar archive.
func controlFile(r io.Reader) ([]byte, error) {
	files := tar.NewReader(io.LimitReader(r, maxControlArchive))
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("there is no file control")
		}
		if err != nil {
			return nil, err
		}
		if path.Clean("/"+h.Name) != "/control" {
			continue
		}
		if h.Size > maxControl {
			return nil, fmt.Errorf("the file control has %d bytes", h.Size)
		}
		return io.ReadAll(files)
	}
}

// keepFields drops the fields that no program decides by.
func keepFields(control []byte) string {
	var b strings.Builder
	keep := false
	for line := range bytes.Lines(control) {
		line = bytes.TrimRight(line, " \t\r\n")
		if len(line) == 0 {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			key, _, _ := bytes.Cut(line, []byte(":"))
			switch string(key) {
			case "Description", "Homepage", "Tag":
				keep = false
			default:
				keep = true
			}
		}
		if keep {
			b.Write(line)
			b.WriteByte('\n')
		}
	}
	return b.String()
}
