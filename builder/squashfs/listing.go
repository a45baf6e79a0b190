package squashfs

import "math"

// A listing is the content of a folder in the directory table: runs of entries
// behind headers that say what the entries have in common.
type listing struct {
	at    inodeRef
	size  int
	index []mark
}

// A mark lets a reader who looks for a name begin in the middle of a listing:
// in the metadata block, at the position, is the header of the run that begins
// with the name.
type mark struct {
	position int
	block    uint32
	name     string
}

const (
	maxRun   = 256
	maxMarks = math.MaxUint16
)

// list writes the listing of the nodes, whose inodes are written.
func (t *tables) list(nodes []*node) listing {
	if len(nodes) == 0 {
		return listing{}
	}
	l := listing{at: t.listings.at()}
	begin := t.listings.size
	last := l.at.block()
	for len(nodes) > 0 {
		n := run(nodes)
		// As mksquashfs does, one mark for each metadata block but the first.
		if at := t.listings.at(); at.block() != last && len(l.index) < maxMarks {
			last = at.block()
			l.index = append(l.index, mark{t.listings.size - begin, last, nodes[0].name})
		}
		t.run(nodes[:n])
		nodes = nodes[n:]
	}
	l.size = t.listings.size - begin
	return l
}

// run returns how many of the nodes can be behind one header: inodes in one
// metadata block, with numbers that differ from the first by 16 bits.
func run(nodes []*node) int {
	first := nodes[0].inode
	for n, next := range nodes {
		distance := int64(next.inode.number) - int64(first.number)
		if n == maxRun || next.ref.block() != first.ref.block() || distance < math.MinInt16 || distance > math.MaxInt16 {
			return n
		}
	}
	return len(nodes)
}

func (t *tables) run(nodes []*node) {
	first := nodes[0].inode
	b := le.AppendUint32(nil, uint32(len(nodes)-1))
	b = le.AppendUint32(b, first.ref.block())
	b = le.AppendUint32(b, first.number)
	for _, n := range nodes {
		b = le.AppendUint16(b, n.ref.offset())
		b = le.AppendUint16(b, uint16(n.inode.number-first.number))
		b = le.AppendUint16(b, uint16(n.kind))
		b = le.AppendUint16(b, uint16(len(n.name)-1))
		b = append(b, n.name...)
	}
	t.listings.write(b)
}
