package layerfs

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const (
	superblockSize = 96
	metadataSize   = 8192
	// metadataStored in a block's length says that it is not compressed.
	metadataStored = 0x8000
	compressorZstd = 6
	noTable        = math.MaxUint64
	none           = math.MaxUint32

	flagDuplicates = 0x0040
	flagNoXattrs   = 0x0200
)

// writer writes a file system.
type writer struct {
	file      *os.File
	at        int64
	epoch     uint32
	enc       *zstd.Encoder
	fragments []fragment
	ids       map[uint32]uint16
	xattrs    xattrs
	count     uint32 // of inodes
}

// metadata is a table of compressed blocks. An address in it is the offset of
// a block behind the table's start, and one within the block.
type metadata struct {
	enc   *zstd.Encoder
	out   []byte
	block []byte
}

func (m *metadata) ref() (block uint32, offset uint16) {
	return uint32(len(m.out)), uint16(len(m.block)) //nolint:gosec // 4 GiB of inodes do not fit into memory
}

func (m *metadata) write(b []byte) {
	for len(b) > 0 {
		n := min(metadataSize-len(m.block), len(b))
		m.block = append(m.block, b[:n]...)
		b = b[n:]
		if len(m.block) == metadataSize {
			m.flush()
		}
	}
}

func (m *metadata) flush() {
	if len(m.block) == 0 {
		return
	}
	packed := m.enc.EncodeAll(m.block, nil)
	length := uint16(len(packed)) //nolint:gosec // a little over 8 KiB at most
	if len(packed) >= len(m.block) {
		packed, length = m.block, uint16(len(m.block))|metadataStored //nolint:gosec // 8 KiB
	}
	m.out = binary.LittleEndian.AppendUint16(m.out, length)
	m.out = append(m.out, packed...)
	m.block = m.block[:0]
}

// writeTables writes everything behind the data, and the superblock.
func (w *writer) writeTables(root *inode) (err error) {
	if w.enc, err = newEncoder(3); err != nil {
		return err
	}
	count := int(root.Size)
	root.Size = 0
	if err := checkCount("files", count, math.MaxInt32); err != nil {
		return err
	}
	w.count = uint32(count) //nolint:gosec // checked
	if err := w.collect(root); err != nil {
		return err
	}
	inodes, dirs := &metadata{enc: w.enc}, &metadata{enc: w.enc}
	if err := w.writeInode(inodes, dirs, root); err != nil {
		return err
	}
	inodes.flush()
	dirs.flush()

	le := binary.LittleEndian
	s := make([]byte, superblockSize)
	copy(s, "hsqs")
	le.PutUint32(s[4:], uint32(count)) //nolint:gosec // checked
	le.PutUint32(s[8:], w.epoch)
	le.PutUint32(s[12:], BlockSize)
	le.PutUint32(s[16:], uint32(len(w.fragments))) //nolint:gosec // fewer than files
	le.PutUint16(s[20:], compressorZstd)
	le.PutUint16(s[22:], 18) // log2 of the block size
	flags := uint16(flagDuplicates)
	if len(w.xattrs.sets) == 0 {
		flags |= flagNoXattrs
	}
	le.PutUint16(s[24:], flags)
	le.PutUint16(s[26:], uint16(len(w.ids))) //nolint:gosec // checked by collect
	le.PutUint16(s[28:], 4)
	le.PutUint64(s[32:], root.ref)
	tables := []struct {
		field int
		write func() (uint64, error)
	}{
		{64, func() (uint64, error) { return w.raw(inodes.out) }},
		{72, func() (uint64, error) { return w.raw(dirs.out) }},
		{80, w.writeFragments},
		{48, w.writeIDs},
		{56, w.writeXattrs},
	}
	le.PutUint64(s[88:], noTable) // no export table: nobody serves this by NFS
	for _, t := range tables {
		at, err := t.write()
		if err != nil {
			return err
		}
		le.PutUint64(s[t.field:], at)
	}
	le.PutUint64(s[40:], uint64(w.at)) //nolint:gosec // not negative
	if _, err := w.file.WriteAt(s, 0); err != nil {
		return err
	}
	return w.file.Truncate((w.at + 4095) / 4096 * 4096)
}

// raw appends bytes and returns where they begin.
func (w *writer) raw(b []byte) (uint64, error) {
	at := w.at
	_, err := w.file.WriteAt(b, at)
	w.at += int64(len(b))
	return uint64(at), err //nolint:gosec // not negative
}

// lookup appends a table of records of one size as metadata blocks, and behind
// them the addresses of these, whose own address it returns.
func (w *writer) lookup(records []byte, header ...byte) (uint64, error) {
	var addresses []byte
	for len(records) > 0 {
		n := min(metadataSize, len(records))
		m := &metadata{enc: w.enc}
		m.write(records[:n])
		m.flush()
		records = records[n:]
		at, err := w.raw(m.out)
		if err != nil {
			return 0, err
		}
		addresses = binary.LittleEndian.AppendUint64(addresses, at)
	}
	return w.raw(append(header, addresses...))
}

func (w *writer) writeFragments() (uint64, error) {
	var b []byte
	for _, f := range w.fragments {
		b = binary.LittleEndian.AppendUint64(b, uint64(f.Start)) //nolint:gosec // not negative
		b = binary.LittleEndian.AppendUint32(b, f.Size)
		b = binary.LittleEndian.AppendUint32(b, 0)
	}
	return w.lookup(b)
}

func (w *writer) writeIDs() (uint64, error) {
	var b []byte
	for _, id := range slices.Sorted(maps.Keys(w.ids)) {
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return w.lookup(b)
}

// collect gathers owners and extended attributes.
func (w *writer) collect(root *inode) error {
	w.ids = map[uint32]uint16{}
	root.walk(func(i *inode) {
		w.ids[i.UID], w.ids[i.GID] = 0, 0
	})
	if err := checkCount("owners", len(w.ids), math.MaxUint16); err != nil {
		return err
	}
	for n, id := range slices.Sorted(maps.Keys(w.ids)) {
		w.ids[id] = uint16(n) //nolint:gosec // checked
	}
	return w.xattrs.collect(root)
}

// xattrs are the sets of extended attributes, each once.
type xattrs struct {
	sets    []xattrSet
	numbers map[string]uint32 // by content
	values  []byte            // as in the file system
}

type xattrSet struct {
	offset, size, count int
}

// prefixes of names that the format knows.
var xattrPrefixes = []string{"user.", "trusted.", "security."} //nolint:gochecknoglobals // a constant list

func (x *xattrs) collect(root *inode) (err error) {
	x.numbers = map[string]uint32{}
	root.walk(func(i *inode) {
		if len(i.Xattr) == 0 || err != nil {
			return
		}
		var b []byte
		for _, name := range slices.Sorted(maps.Keys(i.Xattr)) {
			at := slices.IndexFunc(xattrPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
			if at < 0 {
				err = fmt.Errorf("/%s has the attribute %s, which no squashfs holds", i.Path, name)
				return
			}
			rest := name[len(xattrPrefixes[at]):]
			b = binary.LittleEndian.AppendUint16(b, uint16(at))        //nolint:gosec // 0 to 2
			b = binary.LittleEndian.AppendUint16(b, uint16(len(rest))) //nolint:gosec // names have 255 bytes at most
			b = append(b, rest...)
			b = binary.LittleEndian.AppendUint32(b, uint32(len(i.Xattr[name]))) //nolint:gosec // 64 KiB at most
			b = append(b, i.Xattr[name]...)
		}
		i.xattrKey = string(b)
		if _, ok := x.numbers[string(b)]; ok {
			return
		}
		x.numbers[string(b)] = uint32(len(x.sets)) //nolint:gosec // fewer than files
		x.sets = append(x.sets, xattrSet{offset: len(x.values), size: len(b), count: len(i.Xattr)})
		x.values = append(x.values, b...)
	})
	return err
}

func (w *writer) writeXattrs() (uint64, error) {
	x := &w.xattrs
	if len(x.sets) == 0 {
		return noTable, nil
	}
	// The sets' addresses need the sizes of the packed blocks before them.
	m := &metadata{enc: w.enc}
	var ids []byte
	for _, set := range x.sets {
		block, offset := m.ref()
		m.write(x.values[set.offset:][:set.size])
		ids = binary.LittleEndian.AppendUint64(ids, uint64(block)<<16|uint64(offset))
		ids = binary.LittleEndian.AppendUint32(ids, uint32(set.count)) //nolint:gosec // few
		ids = binary.LittleEndian.AppendUint32(ids, uint32(set.size))  //nolint:gosec // 64 KiB at most
	}
	m.flush()
	start, err := w.raw(m.out)
	if err != nil {
		return 0, err
	}
	header := binary.LittleEndian.AppendUint64(nil, start)
	header = binary.LittleEndian.AppendUint32(header, uint32(len(x.sets))) //nolint:gosec // fewer than files
	header = binary.LittleEndian.AppendUint32(header, 0)
	return w.lookup(ids, header...)
}
