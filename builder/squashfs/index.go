package squashfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// A packed layer is its data, an index of it, and a trailer of fixed size:
//
//	data       stored blocks, without addresses
//	index      see index.encode
//	trailer    magic, length of data, length of index, SHA-256 of the data,
//	           SHA-256 of the index; lengths have 8 bytes, little endian
//
// The version is in the magic: a reader of another one knows no such file.
const (
	layerMagic  = "k8sqfs01"
	trailerSize = len(layerMagic) + 8 + 8 + 2*sha256.Size
)

// A record is an entry of a layer with the place of its data.
type record struct {
	path     string
	kind     Kind
	mode     uint16
	uid, gid uint32
	xattrs   map[string]string
	target   string // of a symbolic link
	link     int    // of a hard link: the number of the record it is a name of
	device   uint32
	size     uint64
	*content // nil without data
}

// index is what a layer knows of its data. Records are sorted by path.
type index struct {
	blockSize uint32
	fragments []fragment
	records   []record
}

// encode returns the index as a row of unsigned varints and strings, which are
// a length and bytes. Of a path only what differs from the one before is there.
func (x index) encode() []byte {
	var b []byte
	number := func(n uint64) { b = binary.AppendUvarint(b, n) }
	text := func(s string) { number(uint64(len(s))); b = append(b, s...) }

	number(uint64(x.blockSize))
	number(uint64(len(x.fragments)))
	for _, f := range x.fragments {
		number(f.start)
		number(uint64(f.word))
	}
	number(uint64(len(x.records)))
	before := ""
	for _, r := range x.records {
		same := common(before, r.path)
		number(uint64(same))
		text(r.path[same:])
		before = r.path
		number(uint64(r.kind))
		if r.kind == HardLink {
			number(uint64(r.link))
			continue
		}
		number(uint64(r.mode))
		number(uint64(r.uid))
		number(uint64(r.gid))
		number(uint64(len(r.xattrs)))
		for _, name := range slices.Sorted(maps.Keys(r.xattrs)) {
			text(name)
			text(r.xattrs[name])
		}
		switch r.kind {
		case Symlink:
			text(r.target)
		case BlockDevice, CharDevice:
			number(uint64(r.device))
		case File:
			number(r.size)
			switch {
			case r.content == nil:
			case r.size < uint64(x.blockSize):
				number(uint64(r.fragment))
				number(uint64(r.fragmentOffset))
			default:
				number(r.start)
				for _, word := range r.words {
					number(uint64(word))
				}
			}
		}
	}
	return b
}

func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

var errIndex = errors.New("the index is damaged")

// decoder reads an index. After the first mistake it answers zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) number(limit uint64) uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || n > limit {
		d.b, d.err = nil, errIndex
		return 0
	}
	d.b = d.b[size:]
	return n
}

// count is a number of things of which each has at least one byte.
func (d *decoder) count() int { return int(d.number(uint64(len(d.b)))) }

func (d *decoder) text() string {
	n := d.count()
	if n > len(d.b) {
		d.b, d.err = nil, errIndex
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

// decodeIndex is the reverse of encode. It takes only what Pack can have
// written over data of the given length.
func decodeIndex(b []byte, data uint64) (index, error) {
	d := &decoder{b: b}
	x := index{blockSize: uint32(d.number(maxBlockSize))}
	if d.err != nil || checkBlockSize(int(x.blockSize)) != nil {
		return index{}, errIndex
	}
	for range d.count() {
		f := fragment{d.number(data), uint32(d.number(2*uncompressed - 1))}
		if !fits(f.start, f.word, x.blockSize, data) {
			d.err = errIndex
		}
		x.fragments = append(x.fragments, f)
	}
	before := ""
	for n := d.count(); n > 0 && d.err == nil; n-- {
		same := d.number(uint64(len(before)))
		r := record{path: before[:same] + d.text(), kind: Kind(d.number(uint64(HardLink)))}
		before = r.path
		if r.kind == HardLink {
			r.link = int(d.number(1 << 31))
		} else {
			d.record(&r, x, data)
		}
		x.records = append(x.records, r)
	}
	if d.err != nil || len(d.b) > 0 {
		return index{}, errIndex
	}
	return x, x.check()
}

func (d *decoder) record(r *record, x index, data uint64) {
	r.mode = uint16(d.number(0o7777))
	r.uid, r.gid = uint32(d.number(none)), uint32(d.number(none))
	if n := d.count(); n > 0 {
		r.xattrs = map[string]string{}
		for range n {
			name := d.text()
			r.xattrs[name] = d.text()
		}
	}
	switch r.kind {
	case Symlink:
		r.target = d.text()
	case BlockDevice, CharDevice:
		r.device = uint32(d.number(none))
	case File:
		r.size = d.number(1<<63 - 1)
		if r.size == 0 {
			return
		}
		r.content = &content{fragment: none}
		if r.size < uint64(x.blockSize) {
			r.fragment = uint32(d.number(none))
			r.fragmentOffset = uint32(d.number(uint64(x.blockSize)))
			if int64(r.fragment) >= int64(len(x.fragments)) || uint64(r.fragmentOffset)+r.size > uint64(x.blockSize) {
				d.err = errIndex
			}
			return
		}
		r.start = d.number(data)
		blocks := (r.size + uint64(x.blockSize) - 1) / uint64(x.blockSize)
		if blocks > uint64(len(d.b)) {
			d.err = errIndex
			return
		}
		at := r.start
		for range blocks {
			word := uint32(d.number(2*uncompressed - 1))
			if !fits(at, word, x.blockSize, data) {
				d.err = errIndex
			}
			at += uint64(word &^ uncompressed)
			r.words = append(r.words, word)
		}
	}
}

// fits reports whether a stored block is inside the data.
func fits(start uint64, word, blockSize uint32, data uint64) bool {
	size := word &^ uncompressed
	return size <= blockSize && start+uint64(size) <= data
}

// check looks at the records as a whole, by the rules of Pack.
func (x index) check() error {
	entries := make([]Entry, 0, len(x.records))
	for i, r := range x.records {
		if i > 0 && r.path <= x.records[i-1].path {
			return errIndex
		}
		e := Entry{Path: r.path, Kind: r.kind, Mode: r.mode, Xattrs: r.xattrs, Target: r.target}
		if r.kind == HardLink {
			if r.link >= len(x.records) {
				return errIndex
			}
			e.Target = x.records[r.link].path
		}
		entries = append(entries, e)
	}
	if _, err := ordered(entries); err != nil {
		return fmt.Errorf("%w: %w", errIndex, err)
	}
	return nil
}

// writeIndex ends a packed layer.
func writeIndex(w io.Writer, x index, data uint64, sum []byte) error {
	b := x.encode()
	indexSum := sha256.Sum256(b)
	length := len(b)
	b = append(b, layerMagic...)
	b = le.AppendUint64(b, data)
	b = le.AppendUint64(b, uint64(length))
	b = append(b, sum...)
	_, err := w.Write(append(b, indexSum[:]...))
	return err
}

var errLayer = errors.New("it is not a packed layer")

// readIndex returns the index of a packed layer of size bytes, the length of
// its data and their digest.
func readIndex(r io.ReaderAt, size int64) (x index, data int64, sum []byte, err error) {
	if size < int64(trailerSize) {
		return index{}, 0, nil, errLayer
	}
	end := make([]byte, trailerSize)
	if _, err := r.ReadAt(end, size-int64(trailerSize)); err != nil {
		return index{}, 0, nil, err
	}
	lengths, sums := end[len(layerMagic):], end[len(layerMagic)+16:]
	data, length := int64(le.Uint64(lengths)), int64(le.Uint64(lengths[8:]))
	if !bytes.HasPrefix(end, []byte(layerMagic)) || data < 0 || length < 0 || data > size || data+length != size-int64(trailerSize) {
		return index{}, 0, nil, errLayer
	}
	b := make([]byte, length)
	if _, err := r.ReadAt(b, data); err != nil {
		return index{}, 0, nil, err
	}
	if sha256.Sum256(b) != [sha256.Size]byte(sums[sha256.Size:]) {
		return index{}, 0, nil, errIndex
	}
	x, err = decodeIndex(b, uint64(data))
	return x, data, sums[:sha256.Size], err
}
