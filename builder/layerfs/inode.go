package layerfs

import (
	"encoding/binary"
	"math"
)

// extended is added to the type of a basic inode.
const extended = 7

// writeInode writes an inode with all that is below it: subfolders first, then
// the other children side by side, so that a folder's entries are close, and
// last the folder, which needs their addresses.
func (w *writer) writeInode(inodes, dirs *metadata, i *inode) error {
	if i.written {
		return nil
	}
	for _, folders := range []bool{true, false} {
		for _, e := range i.children {
			if (e.inode.Kind == dir) == folders {
				if err := w.writeInode(inodes, dirs, e.inode); err != nil {
					return err
				}
			}
		}
	}
	var b []byte
	switch i.Kind {
	case dir:
		b = w.dirInode(dirs, i)
	case file:
		b = w.fileInode(i)
	case symlink:
		b = w.header(i, false)
		b = binary.LittleEndian.AppendUint32(b, i.links)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(i.Target))) //nolint:gosec // a path
		b = append(b, i.Target...)
		b = w.appendXattr(b, i)
	default:
		b = w.header(i, false)
		b = binary.LittleEndian.AppendUint32(b, i.links)
		if i.Kind != fifo {
			b = binary.LittleEndian.AppendUint32(b, i.Device)
		}
		b = w.appendXattr(b, i)
	}
	block, offset := inodes.ref()
	i.ref, i.written = uint64(block)<<16|uint64(offset), true
	inodes.write(b)
	return nil
}

// header begins an inode. It is extended when force says so, and where there
// are extended attributes.
func (w *writer) header(i *inode, force bool) []byte {
	typ := uint16(i.Kind)
	if _, ok := w.xattr(i); ok || force {
		typ += extended
	}
	b := binary.LittleEndian.AppendUint16(nil, typ)
	b = binary.LittleEndian.AppendUint16(b, i.Mode)
	b = binary.LittleEndian.AppendUint16(b, w.ids[i.UID])
	b = binary.LittleEndian.AppendUint16(b, w.ids[i.GID])
	b = binary.LittleEndian.AppendUint32(b, i.MTime)
	return binary.LittleEndian.AppendUint32(b, i.number)
}

// xattr returns the number of the inode's set of attributes.
func (w *writer) xattr(i *inode) (uint32, bool) {
	if i.xattrKey == "" {
		return none, false
	}
	return w.xattrs.numbers[i.xattrKey], true
}

// appendXattr ends an extended inode of a kind that is extended for its
// attributes only.
func (w *writer) appendXattr(b []byte, i *inode) []byte {
	if n, ok := w.xattr(i); ok {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}

func (w *writer) fileInode(i *inode) []byte {
	le := binary.LittleEndian
	number, hasXattr := w.xattr(i)
	var holes int64
	for n, size := range i.Blocks {
		if size == zeroSize {
			holes += min(BlockSize, i.Size-int64(n)*BlockSize)
		}
	}
	frag := uint32(none)
	if i.Fragment > 0 {
		frag = uint32(i.Fragment - 1) //nolint:gosec // fewer than files
	}
	long := hasXattr || i.links > 1 || i.Size > math.MaxUint32 || i.Start > math.MaxUint32 || holes > 0
	b := w.header(i, long)
	if long {
		b = le.AppendUint64(b, uint64(i.Start)) //nolint:gosec // not negative
		b = le.AppendUint64(b, uint64(i.Size))  //nolint:gosec // not negative
		b = le.AppendUint64(b, uint64(holes))   //nolint:gosec // not negative
		b = le.AppendUint32(b, i.links)
		b = le.AppendUint32(b, frag)
		b = le.AppendUint32(b, i.Offset)
		b = le.AppendUint32(b, number)
	} else {
		b = le.AppendUint32(b, uint32(i.Start)) //nolint:gosec // checked
		b = le.AppendUint32(b, frag)
		b = le.AppendUint32(b, i.Offset)
		b = le.AppendUint32(b, uint32(i.Size)) //nolint:gosec // checked
	}
	for _, size := range i.Blocks {
		b = le.AppendUint32(b, size)
	}
	return b
}

func (w *writer) dirInode(dirs *metadata, i *inode) []byte {
	le := binary.LittleEndian
	block, offset := dirs.ref()
	size := writeListing(dirs, i.children)
	// What readers call a folder's size counts "." and "..".
	size += 3
	number, hasXattr := w.xattr(i)
	long := hasXattr || size > math.MaxUint16
	b := w.header(i, long)
	if long {
		b = le.AppendUint32(b, i.links)
		b = le.AppendUint32(b, uint32(size)) //nolint:gosec // names of files in memory
		b = le.AppendUint32(b, block)
		b = le.AppendUint32(b, i.parentNumber(w))
		b = le.AppendUint16(b, 0) // entries of the index
		b = le.AppendUint16(b, offset)
		return le.AppendUint32(b, number)
	}
	b = le.AppendUint32(b, block)
	b = le.AppendUint32(b, i.links)
	b = le.AppendUint16(b, uint16(size)) //nolint:gosec // checked
	b = le.AppendUint16(b, offset)
	return le.AppendUint32(b, i.parentNumber(w))
}

// parentNumber of the root is one more than there are inodes.
func (i *inode) parentNumber(w *writer) uint32 {
	if i.parent == i {
		return w.count + 1
	}
	return i.parent.number
}

// runLength is how many entries a header of a listing counts.
const runLength = 256

// writeListing writes a folder's entries and returns their size. A run shares
// a header: its inodes are in one block, and their numbers close.
func writeListing(dirs *metadata, entries []*entry) int {
	le := binary.LittleEndian
	size := 0
	for len(entries) > 0 {
		first := entries[0].inode
		n := 1
		for n < len(entries) && n < runLength && sameRun(first, entries[n].inode) {
			n++
		}
		b := le.AppendUint32(nil, uint32(n-1)) //nolint:gosec // at most 255
		b = le.AppendUint32(b, uint32(first.ref>>16))
		b = le.AppendUint32(b, first.number)
		for _, e := range entries[:n] {
			b = le.AppendUint16(b, uint16(e.inode.ref))                        //nolint:gosec // the low 16 bits
			b = le.AppendUint16(b, uint16(int16(e.inode.number-first.number))) //nolint:gosec // checked by sameRun
			b = le.AppendUint16(b, uint16(e.inode.Kind))
			b = le.AppendUint16(b, uint16(len(e.name)-1)) //nolint:gosec // at most 256
			b = append(b, e.name...)
		}
		dirs.write(b)
		size += len(b)
		entries = entries[n:]
	}
	return size
}

func sameRun(first, i *inode) bool {
	diff := int64(i.number) - int64(first.number)
	return i.ref>>16 == first.ref>>16 && diff >= math.MinInt16 && diff <= math.MaxInt16
}
