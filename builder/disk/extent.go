package disk

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"time"
)

// An Extent is a range of a file or of an image, in bytes.
type Extent struct{ Offset, Size int64 }

// A File is a file inside an image.
type File struct {
	// Path has no leading slash.
	Path    string
	Size    int64
	ModTime time.Time
	// Extents hold the content in order; the last may be longer than what is
	// left of Size.
	Extents []Extent
}

// NewFS returns the files of an image as a read-only file system. Folders are
// those that the paths imply.
func NewFS(r io.ReaderAt, files []File) fs.FS {
	f := fileSystem{r: r, nodes: map[string]*node{".": {name: ".", dir: true}}}
	for i := range files {
		p := files[i].Path
		f.nodes[p] = &node{name: path.Base(p), file: files[i]}
		for p != "." {
			parent := path.Dir(p)
			up, ok := f.nodes[parent]
			if !ok {
				up = &node{name: path.Base(parent), dir: true}
				f.nodes[parent] = up
			}
			child := f.nodes[p]
			if slices.Contains(up.children, child) {
				break
			}
			up.children = append(up.children, child)
			p = parent
		}
	}
	for _, n := range f.nodes {
		sort.Slice(n.children, func(i, j int) bool { return n.children[i].name < n.children[j].name })
	}
	return f
}

type fileSystem struct {
	r     io.ReaderAt
	nodes map[string]*node
}

// node is a file or a folder, and its own fs.FileInfo.
type node struct {
	name     string
	dir      bool
	file     File
	children []*node
}

func (n *node) Name() string       { return n.name }
func (n *node) Size() int64        { return n.file.Size }
func (n *node) ModTime() time.Time { return n.file.ModTime }
func (n *node) IsDir() bool        { return n.dir }
func (n *node) Sys() any           { return nil }

func (n *node) Mode() fs.FileMode {
	if n.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

func (f fileSystem) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	n, ok := f.nodes[name]
	switch {
	case !ok:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case n.dir:
		return &openDir{node: n}, nil
	}
	content := extentReader{f.r, n.file.Extents}
	return &openFile{SectionReader: io.NewSectionReader(content, 0, n.file.Size), node: n}, nil
}

type openFile struct {
	*io.SectionReader
	node *node
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.node, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	node *node
	next int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.node, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.node.name, Err: errors.New("is a directory")}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	left := d.node.children[d.next:]
	if n > 0 && len(left) == 0 {
		return nil, io.EOF
	}
	if n > 0 && len(left) > n {
		left = left[:n]
	}
	d.next += len(left)
	entries := make([]fs.DirEntry, 0, len(left))
	for _, c := range left {
		entries = append(entries, fs.FileInfoToDirEntry(c))
	}
	return entries, nil
}

// extentReader reads extents as if they followed one another.
type extentReader struct {
	r       io.ReaderAt
	extents []Extent
}

func (e extentReader) ReadAt(p []byte, offset int64) (n int, err error) {
	for _, x := range e.extents {
		if len(p) == 0 {
			break
		}
		if offset >= x.Size {
			offset -= x.Size
			continue
		}
		part := p[:min(int64(len(p)), x.Size-offset)]
		got, err := e.r.ReadAt(part, x.Offset+offset)
		n += got
		if got < len(part) {
			return n, err
		}
		p, offset = p[got:], 0
	}
	if len(p) > 0 {
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}

// find returns the file with a path, whatever the case of its letters: so do
// FAT and the firmware that reads it.
func find(files []File, name string) (File, bool) {
	for _, f := range files {
		if strings.EqualFold(f.Path, name) {
			return f, true
		}
	}
	return File{}, false
}
