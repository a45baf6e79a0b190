package squashfs

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// PackOptions of a layer.
type PackOptions struct {
	// Level of zstd, 1 to 22. The encoder has four speeds: up to 2, to 5 (the
	// default, for zero), to 9, and above.
	Level int
	// BlockSize in bytes, a power of two from 4096 to 1048576; zero is
	// [DefaultBlockSize]. Layers of one file system have the same.
	BlockSize int
	// Jobs is how many blocks are compressed at a time; zero is one for each
	// processor. It does not change the result.
	Jobs int
}

// Pack compresses a layer to w. Files are packed in the order of their paths:
// those smaller than a block share fragments, files with equal content are
// stored once, and blocks of zeros not at all. The folders above an entry need
// not be listed.
func Pack(ctx context.Context, w io.Writer, entries []Entry, o PackOptions) error {
	if o.BlockSize == 0 {
		o.BlockSize = DefaultBlockSize
	}
	if o.Jobs <= 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	if err := o.check(); err != nil {
		return fmt.Errorf("packing a layer: %w", err)
	}
	entries, err := ordered(entries)
	if err != nil {
		return fmt.Errorf("packing a layer: %w", err)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	p := &packer{blockSize: o.BlockSize, out: out, sum: sha256.New()}
	contents, err := p.pack(ctx, entries, o)
	if err != nil {
		return fmt.Errorf("packing a layer: %w", err)
	}
	idx := index{blockSize: uint32(o.BlockSize), fragments: p.fragments, records: records(entries, contents)}
	if err := writeIndex(out, idx, p.written, p.sum.Sum(nil)); err != nil {
		return fmt.Errorf("packing a layer: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("packing a layer: %w", err)
	}
	return nil
}

func (o PackOptions) check() error {
	if o.Level < 0 || o.Level > 22 {
		return fmt.Errorf("level %d is not from 1 to 22", o.Level)
	}
	return checkBlockSize(o.BlockSize)
}

// content says where the bytes of a file are in the data of its layer.
type content struct {
	start          uint64   // of the first block
	words          []uint32 // one for each block: its stored size
	fragment       uint32   // number in the layer, or none
	fragmentOffset uint32
}

// fragment is a block of the data with several small files.
type fragment struct {
	start uint64
	word  uint32
}

// block is a piece of the data on its way.
type block struct {
	raw, packed []byte
	stored      []byte // one of both, or nothing
	word        uint32
	shared      bool // a fragment
	ready       chan struct{}
	// place is told where the block came to be.
	place func(start uint64, word uint32)
}

// packer moves blocks from one reader through several compressors to one
// writer. The writer takes them in the order of the reader.
type packer struct {
	blockSize int

	free chan *block // bounds the memory
	todo chan *block // to the compressors, in any order
	line chan *block // to the writer, in order

	// Of the writer, and when it has ended of everybody.
	out       io.Writer
	sum       hash.Hash
	written   uint64
	fragments []fragment
}

func (p *packer) pack(ctx context.Context, entries []Entry, o PackOptions) ([]*content, error) {
	enc, err := newEncoder(o.Level, o.Jobs, o.BlockSize)
	if err != nil {
		return nil, err
	}
	blocks := 2*o.Jobs + 2
	p.free, p.todo, p.line = make(chan *block, blocks), make(chan *block, blocks), make(chan *block, blocks)
	for range blocks {
		p.free <- &block{
			raw: make([]byte, 0, o.BlockSize), packed: make([]byte, 0, o.BlockSize+o.BlockSize/64+128),
			ready: make(chan struct{}, 1),
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	var contents []*content
	g.Go(func() error {
		defer close(p.todo)
		defer close(p.line)
		r := reader{packer: p, hashed: map[[sha256.Size]byte]*content{}, small: make([]byte, p.blockSize)}
		var err error
		contents, err = r.read(ctx, entries)
		return err
	})
	zeros := make([]byte, o.BlockSize)
	for range o.Jobs {
		g.Go(func() error {
			for b := range p.todo {
				b.pack(enc, zeros)
				b.ready <- struct{}{}
			}
			return nil
		})
	}
	g.Go(func() error {
		for b := range p.line {
			<-b.ready
			if err := p.store(b); err != nil {
				return err
			}
			p.free <- b
		}
		return nil
	})
	return contents, g.Wait()
}

func (p *packer) store(b *block) error {
	b.place(p.written, b.word)
	p.written += uint64(len(b.stored))
	_, _ = p.sum.Write(b.stored) // a hash takes everything
	_, err := p.out.Write(b.stored)
	return err
}

// take returns an empty block.
func (p *packer) take(ctx context.Context) (*block, error) {
	select {
	case b := <-p.free:
		b.raw, b.shared = b.raw[:0], false
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// send gives a full block away. There is room: the channels hold all blocks.
func (p *packer) send(b *block, place func(start uint64, word uint32)) {
	b.place = place
	p.todo <- b
	p.line <- b
}

// records joins what the caller said of the entries with where their content is.
func records(entries []Entry, contents []*content) []record {
	numbers := make(map[string]int, len(entries))
	out := make([]record, len(entries))
	for i, e := range entries {
		numbers[e.Path] = i
		out[i] = record{
			path: e.Path, kind: e.Kind, mode: e.Mode, uid: e.UID, gid: e.GID, xattrs: e.Xattrs,
			size: uint64(e.Size), content: contents[i],
		}
		switch e.Kind {
		case Symlink:
			out[i].target = e.Target
		case BlockDevice, CharDevice:
			out[i].device = device(e.Major, e.Minor)
		}
	}
	for i, e := range entries {
		if e.Kind == HardLink {
			out[i] = record{path: e.Path, kind: HardLink, link: numbers[e.Target]}
		}
	}
	return out
}

// device is new_encode_dev of the kernel (include/linux/kdev_t.h).
func device(major, minor uint32) uint32 {
	return minor&0xff | major<<8 | minor&^0xff<<12
}

// errSize says that a file changed between listing and reading.
var errSize = errors.New("it does not have the size that was said")
