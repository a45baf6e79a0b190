package squashfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// AssembleOptions of a file system.
type AssembleOptions struct {
	// Epoch is every timestamp. It is between 1970 and 2106.
	Epoch time.Time
}

// Info describes a file system.
type Info struct {
	// Size is what Assemble wrote, with the padding to a multiple of 4096
	// bytes; Used is without it, as the superblock has it.
	Size, Used int64
	// Inodes are files, folders and others; hard links do not count.
	Inodes int
	// Fragments are blocks with small files.
	Fragments int
}

// Assemble writes the file system that the layers make to out, from its start;
// what out had before is lost. Later layers lie over earlier ones.
func Assemble(ctx context.Context, out *os.File, layers []*Layer, o AssembleOptions) (Info, error) {
	info, err := assemble(ctx, out, layers, o)
	if err != nil {
		return Info{}, fmt.Errorf("assembling the file system: %w", err)
	}
	return info, nil
}

func assemble(ctx context.Context, out *os.File, layers []*Layer, o AssembleOptions) (Info, error) {
	if err := checkLayers(layers, o); err != nil {
		return Info{}, err
	}
	// 1. The tree.
	root, inodes, err := merge(layers)
	if err != nil {
		return Info{}, err
	}
	// 2. The data of all layers, one after the other.
	enc, err := newEncoder(0, 1, metadataBlock)
	if err != nil {
		return Info{}, err
	}
	t := &tables{
		inodes: metadata{enc: enc}, listings: metadata{enc: enc},
		xattrs: xattrs{pairs: &metadata{enc: enc}, known: map[string]uint32{}},
		epoch:  uint32(o.Epoch.Unix()), blockSize: layers[0].index.blockSize,
	}
	at := uint64(superblockSize)
	var fragments []byte
	count := uint32(0)
	if _, err := out.Seek(superblockSize, io.SeekStart); err != nil {
		return Info{}, err
	}
	for _, l := range layers {
		t.data, t.firstFragment = append(t.data, at), append(t.firstFragment, count)
		for _, f := range l.index.fragments {
			fragments = le.AppendUint64(fragments, at+f.start)
			fragments = le.AppendUint64(fragments, uint64(f.word)) // and 4 unused bytes
			count++
		}
		if err := l.copyTo(ctx, out); err != nil {
			return Info{}, fmt.Errorf("copying the layer %q: %w", l.file.Name(), err)
		}
		at += uint64(l.data)
	}
	// 3. The metadata.
	ids, err := t.number(inodes)
	if err != nil {
		return Info{}, err
	}
	t.inode(root, t.folder(root))
	t.inodes.flush()
	t.listings.flush()
	s := superblock{
		inodes: uint32(len(inodes)), epoch: t.epoch, blockSize: t.blockSize, fragments: count,
		flags: flagDuplicates | flagExport, ids: uint16(len(ids)), root: root.ref,
	}
	rest := t.encode(&s, at, tableContents{fragments, export(inodes), encodeIDs(ids)})
	// 4. Everything into the file, with the superblock last.
	if _, err := out.WriteAt(rest, int64(at)); err != nil {
		return Info{}, err
	}
	size := (int64(s.used) + padding - 1) / padding * padding
	if err := out.Truncate(int64(s.used)); err != nil {
		return Info{}, err
	}
	if err := out.Truncate(size); err != nil {
		return Info{}, err
	}
	if _, err := out.WriteAt(s.encode(), 0); err != nil {
		return Info{}, err
	}
	return Info{Size: size, Used: int64(s.used), Inodes: len(inodes), Fragments: int(count)}, nil
}

func checkLayers(layers []*Layer, o AssembleOptions) error {
	if epoch := o.Epoch.Unix(); epoch < 0 || epoch > 0xffff_ffff {
		return fmt.Errorf("the epoch %s is not between 1970 and 2106", o.Epoch.UTC().Format(time.RFC3339))
	}
	if len(layers) == 0 {
		return errors.New("there is no layer")
	}
	for _, l := range layers[1:] {
		if l.index.blockSize != layers[0].index.blockSize {
			return fmt.Errorf("the layer %q has blocks of %d bytes, %q of %d",
				l.file.Name(), l.index.blockSize, layers[0].file.Name(), layers[0].index.blockSize)
		}
	}
	return nil
}

// copyTo appends the data to out, whose position is where they belong.
func (l *Layer) copyTo(ctx context.Context, out *os.File) error {
	if _, err := l.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return copyData(ctx, out, l.file, l.data)
}

// number gives owners and lists of attributes the numbers that inodes have for
// them, and returns the owners.
func (t *tables) number(inodes []*inode) ([]uint32, error) {
	seen := map[uint32]bool{}
	var ids []uint32
	for _, i := range inodes {
		for _, id := range []uint32{i.uid, i.gid} {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
		var err error
		if i.xattr, err = t.xattrs.add(i.xattrs); err != nil {
			return nil, fmt.Errorf("/%s: %w", i.path, err)
		}
	}
	if len(ids) > maxIDs {
		return nil, fmt.Errorf("there are %d different users and groups; the format has room for %d", len(ids), maxIDs)
	}
	slices.Sort(ids)
	t.ids = make(map[uint32]uint16, len(ids))
	for n, id := range ids {
		t.ids[id] = uint16(n)
	}
	return ids, nil
}

// tableContents are the tables of fixed records, unpacked.
type tableContents struct {
	fragments, export, ids []byte
}

// encode returns all tables as they are from position at on, and writes into
// the superblock where they are. The kernel wants this order without gaps: it
// takes the begin of one table for the end of the one before.
func (t *tables) encode(s *superblock, at uint64, c tableContents) []byte {
	out := slices.Concat(t.inodes.stored, t.listings.stored)
	s.inodeTable, s.directoryTable = at, at+uint64(len(t.inodes.stored))
	add := func(b []byte) uint64 {
		stored, list := table(t.inodes.enc, b, at+uint64(len(out)))
		out = append(out, stored...)
		return list
	}
	s.fragmentTable, s.xattrTable = noTable, noTable
	if len(c.fragments) > 0 {
		s.fragmentTable = add(c.fragments)
	}
	s.exportTable = add(c.export)
	s.idTable = add(c.ids)
	if len(t.xattrs.lists) == 0 {
		s.flags |= flagNoXattrs
	} else {
		out = t.xattrs.encode(s, at, out)
	}
	s.used = at + uint64(len(out))
	return out
}

// encode appends the attributes: the pairs, the lists, and a header with the
// position of the pairs before the positions of the lists' blocks.
func (x *xattrs) encode(s *superblock, at uint64, out []byte) []byte {
	x.pairs.flush()
	pairs := at + uint64(len(out))
	out = append(out, x.pairs.stored...)
	base := at + uint64(len(out))
	stored, list := table(x.pairs.enc, x.lists, base)
	s.xattrTable = list
	blocks, positions := stored[:list-base], stored[list-base:]
	out = append(out, blocks...)
	out = le.AppendUint64(out, pairs)
	out = le.AppendUint32(out, uint32(len(x.lists)/xattrListSize))
	out = le.AppendUint32(out, 0)
	return append(out, positions...)
}

// export lists where inodes are, by number: it lets the kernel open a file by
// its handle, which an overlay over the file system wants.
func export(inodes []*inode) []byte {
	b := make([]byte, 0, 8*len(inodes))
	for _, i := range inodes {
		b = le.AppendUint64(b, uint64(i.ref))
	}
	return b
}

func encodeIDs(ids []uint32) []byte {
	b := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		b = le.AppendUint32(b, id)
	}
	return b
}
