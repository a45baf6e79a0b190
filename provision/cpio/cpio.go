package cpio

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"
)

// blockSize is what an archive is padded to: cpio(1) reads in these units, and
// every loader's alignment divides it.
const blockSize = 512

// trailer is the name of the entry that ends an archive.
const trailer = "TRAILER!!!"

// A File is a regular file of an archive.
type File struct {
	// Path is absolute: /etc/hostname.
	Path string
	// Mode is the permission bits.
	Mode fs.FileMode
	Data []byte
}

// Archive returns an archive of files, each after the folders above it, which
// have mode 0755.
func Archive(files ...File) ([]byte, error) {
	var w writer
	folders := make(map[string]bool)
	seen := make(map[string]bool)
	for _, f := range files {
		if !strings.HasPrefix(f.Path, "/") || path.Clean(f.Path) != f.Path || f.Path == "/" || strings.ContainsRune(f.Path, 0) {
			return nil, fmt.Errorf("archiving %q: not a clean absolute path of a file", f.Path)
		}
		if f.Mode&^fs.ModePerm != 0 {
			return nil, fmt.Errorf("archiving %q: mode %v is more than permission bits", f.Path, f.Mode)
		}
		if int64(len(f.Data)) > math.MaxUint32 {
			return nil, fmt.Errorf("archiving %q: larger than the format can say", f.Path)
		}
		name := strings.TrimPrefix(f.Path, "/")
		if name == trailer {
			return nil, fmt.Errorf("archiving %q: the name ends an archive", f.Path)
		}
		if seen[name] || folders[name] {
			return nil, fmt.Errorf("archiving %q: the path is there twice", f.Path)
		}
		for i := range len(name) {
			if name[i] != '/' {
				continue
			}
			folder := name[:i]
			if seen[folder] {
				return nil, fmt.Errorf("archiving %q: %q is a file", f.Path, "/"+folder)
			}
			if !folders[folder] {
				folders[folder] = true
				w.entry(folder, modeFolder|0o755, 2, nil)
			}
		}
		seen[name] = true
		w.entry(name, modeFile|uint32(f.Mode), 1, f.Data)
	}
	w.entry(trailer, 0, 1, nil)
	w.pad(blockSize)
	return w.buf.Bytes(), nil
}

// The file types of stat(2).
const (
	modeFolder = 0o040000
	modeFile   = 0o100000
)

type writer struct {
	buf   bytes.Buffer
	inode uint32
}

func (w *writer) entry(name string, mode, links uint32, data []byte) {
	w.header(name, mode, links, uint32(len(data)))
	w.buf.Write(data)
	w.pad(4)
}

func (w *writer) header(name string, mode, links, size uint32) {
	var inode uint32
	if name != trailer {
		// Two entries of one inode would be taken for hard links.
		w.inode++
		inode = w.inode
	}
	w.buf.WriteString("070701")
	for _, field := range [...]uint32{
		inode, mode,
		0, 0, // owner and group
		links,
		0, // time
		size,
		0, 0, 0, 0, // devices
		uint32(len(name) + 1),
		0, // checksum, which newc leaves 0
	} {
		fmt.Fprintf(&w.buf, "%08X", field)
	}
	w.buf.WriteString(name)
	w.buf.WriteByte(0)
	w.pad(4)
}

func (w *writer) pad(n int) {
	for w.buf.Len()%n != 0 {
		w.buf.WriteByte(0)
	}
}
