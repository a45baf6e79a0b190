package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf16"
)

// Offsets of the BIOS parameter block and of folder entries, from Microsoft's
// "FAT: General Overview of On-Disk Format" 1.03.
const (
	fatDirEntry  = 32
	fatAttrLabel = 0x08
	fatAttrDir   = 0x10
	fatAttrLong  = 0x0f
	// minClusters is the least of FAT16; below, entries have 12 bits.
	minClusters = 4085
	// What a damaged file system may cost at most: folders may contain
	// themselves.
	fatDepth      = 16
	fatMaxEntries = 1024
	fatMaxFolder  = mib / 4
	fatMaxTable   = 64 * mib
)

// bpb is the geometry of a file system, in bytes from its start.
type bpb struct {
	bits            int
	sector, cluster int64
	tableAt         int64
	tableSize       int64 // of one copy
	copies          int64
	data            int64 // cluster 2
	end             int64
	root            Extent // FAT16
	rootAt          uint32 // FAT32: the root's first cluster
	// backup is the second boot sector, 0 when there is none.
	backup int64
}

func parseBPB(b []byte) bpb {
	le := binary.LittleEndian
	g := bpb{bits: 16, sector: int64(le.Uint16(b[11:])), copies: int64(b[16])}
	g.cluster = int64(b[13]) * g.sector
	g.tableAt = int64(le.Uint16(b[14:])) * g.sector
	g.end = int64(le.Uint16(b[19:])) * g.sector
	if g.end == 0 {
		g.end = int64(le.Uint32(b[32:])) * g.sector
	}
	g.tableSize = int64(le.Uint16(b[22:])) * g.sector
	if g.tableSize == 0 {
		g.bits = 32
		g.tableSize = int64(le.Uint32(b[36:])) * g.sector
		g.rootAt = le.Uint32(b[44:])
		g.backup = int64(le.Uint16(b[50:])) * g.sector
	}
	g.root = Extent{g.tableAt + g.copies*g.tableSize, int64(le.Uint16(b[17:])) * fatDirEntry}
	g.data = g.root.Offset + g.root.Size
	return g
}

// clusters is how many there is room for, entries how many the table counts.
func (g bpb) clusters() int64 { return (g.end - g.data) / g.cluster }
func (g bpb) entries() int64  { return g.tableSize*8/int64(g.bits) - 2 }

// fat reads a FAT16 or FAT32 file system. It is written against the format and
// not against go-diskfs, which makes ours: it checks what that one did.
type fat struct {
	bpb
	r     io.ReaderAt
	count uint32
	table []byte
	// visited counts the entries of folders.
	visited int
}

func openFAT(r io.ReaderAt) (*fat, error) {
	b := make([]byte, 512)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("reading the boot sector: %w", err)
	}
	f := &fat{bpb: parseBPB(b), r: r}
	if b[510] != 0x55 || b[511] != 0xaa || f.sector < 512 || f.sector > 4096 || f.cluster == 0 || f.tableAt == 0 || f.copies == 0 {
		return nil, errors.New("reading the boot sector: not a FAT file system")
	}
	if n := f.clusters(); n < minClusters || n > 1<<28 || n > f.entries() || f.tableSize > fatMaxTable {
		return nil, fmt.Errorf("reading the boot sector: %d clusters and a table for %d are out of range", n, f.entries())
	}
	f.count = uint32(f.clusters())
	f.table = make([]byte, f.tableSize)
	if _, err := r.ReadAt(f.table, f.tableAt); err != nil {
		return nil, fmt.Errorf("reading the allocation table: %w", err)
	}
	return f, nil
}

// next returns the cluster behind c, and 0 at the end of a chain.
func (f *fat) next(c uint32) (uint32, error) {
	if c < 2 || c >= f.count+2 {
		return 0, fmt.Errorf("cluster %d is out of range", c)
	}
	var n, last uint32
	if f.bits == 16 {
		n, last = uint32(binary.LittleEndian.Uint16(f.table[2*c:])), 0xfff8
	} else {
		n, last = binary.LittleEndian.Uint32(f.table[4*c:])&0x0fffffff, 0x0ffffff8
	}
	if n >= last {
		return 0, nil
	}
	if n < 2 {
		return 0, fmt.Errorf("cluster %d is followed by %d", c, n)
	}
	return n, nil
}

// chain returns the ranges of the chain that begins with a cluster.
func (f *fat) chain(c uint32) ([]Extent, error) {
	var all []Extent
	var steps uint32
	for c != 0 {
		if steps++; steps > f.count {
			return nil, errors.New("a chain of clusters never ends")
		}
		next, err := f.next(c)
		if err != nil {
			return nil, err
		}
		at := f.data + int64(c-2)*f.cluster
		if last := len(all) - 1; last >= 0 && all[last].Offset+all[last].Size == at {
			all[last].Size += f.cluster
		} else {
			all = append(all, Extent{at, f.cluster})
		}
		c = next
	}
	return all, nil
}

// fatEntry is an entry of a folder.
type fatEntry struct {
	file  File
	short string // eleven bytes, padded
	attr  byte
	depth int   // of its folder; 0 is the root
	at    int64 // offset of its 32 bytes
	first uint32
}

// walk calls visit for every entry that is not a part of a long name, parents
// first.
func (f *fat) walk(visit func(fatEntry) error) error {
	f.visited = 0
	root := []Extent{f.root}
	if f.bits == 32 {
		var err error
		if root, err = f.chain(f.rootAt); err != nil {
			return fmt.Errorf("reading the root folder: %w", err)
		}
	}
	return f.walkDir("", root, 0, visit)
}

func (f *fat) walkDir(dir string, extents []Extent, depth int, visit func(fatEntry) error) error {
	if depth > fatDepth {
		return fmt.Errorf("folder %q is too deep", dir)
	}
	var long []uint16
	for _, x := range extents {
		if x.Size > fatMaxFolder {
			return fmt.Errorf("folder %q is too large", dir)
		}
		b := make([]byte, x.Size)
		if _, err := f.r.ReadAt(b, x.Offset); err != nil {
			return fmt.Errorf("reading folder %q: %w", dir, err)
		}
		for i := 0; i+fatDirEntry <= len(b); i += fatDirEntry {
			e := b[i : i+fatDirEntry]
			switch {
			case e[0] == 0:
				return nil
			case e[0] == 0xe5:
				long = nil
				continue
			case e[11]&fatAttrLong == fatAttrLong:
				long = append(longPart(e), long...)
				continue
			}
			entry := parseFATEntry(e, dir, long)
			long = nil
			entry.at, entry.depth = x.Offset+int64(i), depth
			if err := f.visit(entry, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fat) visit(e fatEntry, visit func(fatEntry) error) error {
	if f.visited++; f.visited > fatMaxEntries {
		return errors.New("there are too many files")
	}
	if e.attr&fatAttrLabel != 0 || e.short[0] == '.' {
		return visit(e)
	}
	if e.first != 0 {
		var err error
		if e.file.Extents, err = f.chain(e.first); err != nil {
			return fmt.Errorf("reading %q: %w", e.file.Path, err)
		}
	}
	if err := visit(e); err != nil || e.attr&fatAttrDir == 0 {
		return err
	}
	return f.walkDir(e.file.Path+"/", e.file.Extents, e.depth+1, visit)
}

// files returns the regular files.
func (f *fat) files() ([]File, error) {
	var all []File
	err := f.walk(func(e fatEntry) error {
		if e.attr&(fatAttrLabel|fatAttrDir) != 0 || e.short[0] == '.' {
			return nil
		}
		room := int64(0)
		for _, x := range e.file.Extents {
			room += x.Size
		}
		if e.file.Size > room || room-e.file.Size >= f.cluster {
			return fmt.Errorf("reading %q: %d bytes are in clusters of %d", e.file.Path, e.file.Size, room)
		}
		all = append(all, e.file)
		return nil
	})
	return all, err
}

func parseFATEntry(e []byte, dir string, long []uint16) fatEntry {
	le := binary.LittleEndian
	name := string(utf16.Decode(long))
	if name == "" {
		// Windows keeps the case of plain lower-case names in byte 12.
		base, ext := strings.TrimRight(string(e[:8]), " "), strings.TrimRight(string(e[8:11]), " ")
		if e[12]&0x08 != 0 {
			base = strings.ToLower(base)
		}
		if e[12]&0x10 != 0 {
			ext = strings.ToLower(ext)
		}
		if name = base; ext != "" {
			name += "." + ext
		}
	}
	return fatEntry{
		file:  File{Path: dir + name, Size: int64(le.Uint32(e[28:])), ModTime: fromFATTime(le.Uint16(e[24:]), le.Uint16(e[22:]))},
		short: string(e[:11]),
		attr:  e[11],
		first: uint32(le.Uint16(e[20:]))<<16 | uint32(le.Uint16(e[26:])),
	}
}

// longPart returns the characters of one entry of a long name.
func longPart(e []byte) []uint16 {
	var units []uint16
	for _, r := range [][]byte{e[1:11], e[14:26], e[28:32]} {
		for ; len(r) >= 2; r = r[2:] {
			u := binary.LittleEndian.Uint16(r)
			if u == 0 || u == 0xffff {
				return units
			}
			units = append(units, u)
		}
	}
	return units
}

// fatTime returns the date and the time fields for t, in UTC. The format
// begins with 1980.
func fatTime(t time.Time) (date, clock uint16) {
	t = t.UTC()
	if t.Year() < 1980 {
		t = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)
	}
	date = uint16((t.Year()-1980)<<9 | int(t.Month())<<5 | t.Day())
	return date, uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2)
}

func fromFATTime(date, clock uint16) time.Time {
	return time.Date(1980+int(date>>9), time.Month(date>>5&15), int(date&31),
		int(clock>>11), int(clock>>5&63), int(clock&31)*2, 0, time.UTC)
}
