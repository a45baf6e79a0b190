package squashfs

// extended is what separates the types of extended inodes from the basic ones.
const extended = 7

// tables gathers the metadata of a file system.
type tables struct {
	inodes, listings metadata
	xattrs           xattrs
	ids              map[uint32]uint16
	epoch            uint32
	blockSize        uint32
	data             []uint64 // where the data of each layer begins
	firstFragment    []uint32 // of each layer
}

// folder writes what is in a folder, and its listing: first the content of the
// folders in it, then its inodes side by side, so that few headers serve the
// listing, which comes last because it says where the inodes are.
func (t *tables) folder(n *node) listing {
	below := make(map[*node]listing)
	for _, child := range n.sorted {
		if child.kind == Directory {
			below[child] = t.folder(child)
		}
	}
	for _, child := range n.sorted {
		if !child.written {
			t.inode(child, below[child])
		}
	}
	return t.list(n.sorted)
}

// inode writes the inode of a node; the listing is that of a folder.
func (t *tables) inode(n *node, l listing) {
	n.written, n.ref = true, t.inodes.at()
	var basic bool
	var b []byte
	switch n.kind {
	case Directory:
		basic, b = t.directory(n, l)
	case File:
		basic, b = t.file(n.inode)
	case Symlink:
		b = le.AppendUint32(nil, n.links)
		b = le.AppendUint32(b, uint32(len(n.target)))
		b = append(b, n.target...)
		basic, b = n.attributed(b)
	case BlockDevice, CharDevice:
		basic, b = n.attributed(le.AppendUint32(le.AppendUint32(nil, n.links), n.device))
	default: // FIFO and Socket
		basic, b = n.attributed(le.AppendUint32(nil, n.links))
	}
	typ := uint16(n.kind)
	if !basic {
		typ += extended
	}
	h := le.AppendUint16(nil, typ)
	h = le.AppendUint16(h, n.mode)
	h = le.AppendUint16(h, t.ids[n.uid])
	h = le.AppendUint16(h, t.ids[n.gid])
	h = le.AppendUint32(h, t.epoch)
	h = le.AppendUint32(h, n.inode.number)
	t.inodes.write(h)
	t.inodes.write(b)
}

// attributed ends an inode whose extended form has one field more.
func (i *inode) attributed(b []byte) (basic bool, out []byte) {
	if i.xattr == none {
		return true, b
	}
	return false, le.AppendUint32(b, i.xattr)
}

// listingExtra is added to the size of a listing in its inode: the kernel
// counts "." and ".." into the position of a reader.
const listingExtra = 3

func (t *tables) directory(n *node, l listing) (basic bool, b []byte) {
	size := l.size + listingExtra
	if size <= 0xffff && len(l.index) == 0 && n.xattr == none {
		b = le.AppendUint32(b, l.at.block())
		b = le.AppendUint32(b, n.links)
		b = le.AppendUint16(b, uint16(size))
		b = le.AppendUint16(b, l.at.offset())
		return true, le.AppendUint32(b, n.above())
	}
	b = le.AppendUint32(b, n.links)
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, l.at.block())
	b = le.AppendUint32(b, n.above())
	b = le.AppendUint16(b, uint16(len(l.index)))
	b = le.AppendUint16(b, l.at.offset())
	b = le.AppendUint32(b, n.xattr)
	for _, mark := range l.index {
		b = le.AppendUint32(b, uint32(mark.position))
		b = le.AppendUint32(b, mark.block)
		b = le.AppendUint32(b, uint32(len(mark.name)-1))
		b = append(b, mark.name...)
	}
	return false, b
}

// above returns the number of the parent's inode.
func (n *node) above() uint32 { return n.parent.inode.number }

func (t *tables) file(i *inode) (basic bool, b []byte) {
	var start, sparse uint64
	fragment, offset := uint32(none), uint32(0)
	var words []uint32
	if c := i.content; c != nil {
		words = c.words
		if c.fragment == none {
			start = t.data[i.layer] + c.start
		} else {
			fragment, offset = t.firstFragment[i.layer]+c.fragment, c.fragmentOffset
		}
	}
	left := i.size
	for _, word := range words {
		n := min(left, uint64(t.blockSize))
		if word == 0 {
			sparse += n
		}
		left -= n
	}
	// A file of nothing but zeros keeps one byte, as from mksquashfs.
	sparse = min(sparse, max(i.size, 1)-1)

	if start <= none && i.size <= none && sparse == 0 && i.links == 1 && i.xattr == none {
		basic = true
		b = le.AppendUint32(b, uint32(start))
		b = le.AppendUint32(b, fragment)
		b = le.AppendUint32(b, offset)
		b = le.AppendUint32(b, uint32(i.size))
	} else {
		b = le.AppendUint64(b, start)
		b = le.AppendUint64(b, i.size)
		b = le.AppendUint64(b, sparse)
		b = le.AppendUint32(b, i.links)
		b = le.AppendUint32(b, fragment)
		b = le.AppendUint32(b, offset)
		b = le.AppendUint32(b, i.xattr)
	}
	for _, word := range words {
		b = le.AppendUint32(b, word)
	}
	return basic, b
}
