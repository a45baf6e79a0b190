package layerfs

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// PackOptions say how a layer is compressed.
type PackOptions struct {
	// Level of zstd, 1 to 22.
	Level int
	// Jobs is the number of compressors; zero is one for each processor.
	Jobs int
}

// Pack reads a tar archive and writes it as a packed layer. Of equal small
// files one is kept.
func Pack(ctx context.Context, w io.Writer, archive io.Reader, o PackOptions) error {
	p := &packer{small: map[[sha256.Size]byte]*node{}}
	if o.Jobs <= 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	g, ctx := errgroup.WithContext(ctx)
	p.blocks = make(chan *block, 2*o.Jobs)
	work := make(chan *block, 2*o.Jobs)
	for range o.Jobs {
		g.Go(func() error { return compress(work, o.Level) })
	}
	g.Go(func() error {
		defer close(p.blocks)
		defer close(work)
		p.submit = func(b *block) error {
			for _, to := range []chan *block{p.blocks, work} {
				select {
				case to <- b:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}
		return p.readArchive(ctx, archive)
	})
	var written int64
	g.Go(func() (err error) {
		written, err = p.writeBlocks(ctx, w)
		return err
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("packing a layer: %w", err)
	}
	x := index{Fragments: p.fragments}
	for _, n := range p.nodes {
		x.Nodes = append(x.Nodes, *n)
	}
	slices.SortFunc(x.Nodes, func(a, b node) int { return strings.Compare(a.Path, b.Path) })
	if err := writeIndex(w, x, written); err != nil {
		return fmt.Errorf("packing a layer: %w", err)
	}
	return nil
}

// packer reads an archive. Blocks leave it in order, are compressed by many,
// and are written in that order again.
type packer struct {
	nodes []*node
	// small are files in fragments, by digest.
	small     map[[sha256.Size]byte]*node
	fragment  []byte // being filled
	count     int    // of fragments, with the one being filled
	fragments []fragment

	submit func(*block) error
	blocks chan *block
}

// A block is on its way from the archive to the layer.
type block struct {
	raw []byte
	// node is the file that it belongs to and number its place there; a nil
	// node says that it is a fragment.
	node   *node
	number int
	// first says that no block of the file came before.
	first bool

	packed []byte
	done   chan struct{}
}

func compress(work <-chan *block, level int) error {
	enc, err := newEncoder(level)
	if err != nil {
		return err
	}
	for b := range work {
		b.packed = enc.EncodeAll(b.raw, make([]byte, 0, len(b.raw)))
		close(b.done)
	}
	return nil
}

// writeBlocks writes the blocks in order and tells their owners where they are.
func (p *packer) writeBlocks(ctx context.Context, w io.Writer) (int64, error) {
	var at int64
	for b := range p.blocks {
		select {
		case <-b.done:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		data, size := b.packed, uint32(len(b.packed))
		if len(data) >= len(b.raw) {
			data, size = b.raw, uint32(len(b.raw))|stored
		}
		if b.node == nil {
			p.fragments = append(p.fragments, fragment{Start: at, Size: size})
		} else {
			if b.first {
				b.node.Start = at
			}
			b.node.Blocks[b.number] = size
		}
		if _, err := w.Write(data); err != nil {
			return 0, err
		}
		at += int64(len(data))
	}
	return at, nil
}

func (p *packer) readArchive(ctx context.Context, archive io.Reader) error {
	r := tar.NewReader(archive)
	for ctx.Err() == nil {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return p.flush()
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		n, err := newNode(h)
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		if n.Path == "" {
			continue // the root itself
		}
		p.nodes = append(p.nodes, n)
		if n.Kind != file || n.Size == 0 {
			continue
		}
		if err := p.content(n, r); err != nil {
			return fmt.Errorf("reading /%s: %w", n.Path, err)
		}
	}
	return ctx.Err()
}

func newNode(h *tar.Header) (*node, error) {
	n := &node{
		Path: strings.TrimPrefix(path.Clean("/"+h.Name), "/"),
		Mode: uint16(h.Mode & 0o7777), UID: uint32(h.Uid), GID: uint32(h.Gid), //nolint:gosec // tar holds no more
		Target: h.Linkname,
	}
	if t := h.ModTime.Unix(); t > 0 && t <= math.MaxUint32 {
		n.MTime = uint32(t)
	}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			if n.Xattr == nil {
				n.Xattr = map[string][]byte{}
			}
			n.Xattr[name] = []byte(v)
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		n.Kind, n.Size = file, h.Size
	case tar.TypeDir:
		n.Kind = dir
	case tar.TypeSymlink:
		n.Kind, n.Mode = symlink, 0o777
	case tar.TypeLink:
		n.Kind, n.Target = hardLink, strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")
	case tar.TypeChar, tar.TypeBlock:
		n.Kind, n.Device = charDevice, device(h.Devmajor, h.Devminor)
		if h.Typeflag == tar.TypeBlock {
			n.Kind = blockDevice
		}
	case tar.TypeFifo:
		n.Kind = fifo
	default:
		return nil, fmt.Errorf("/%s has type %q, which no file system holds", n.Path, h.Typeflag)
	}
	return n, nil
}

// device encodes a number as the kernel does (new_encode_dev).
func device(major, minor int64) uint32 {
	return uint32(minor&0xff | (major&0xfff)<<8 | (minor&^0xff)<<12) //nolint:gosec // 12 and 20 bits
}

// content takes the data of a file.
func (p *packer) content(n *node, r io.Reader) error {
	if n.Size < BlockSize {
		return p.smallFile(n, r)
	}
	n.Blocks = make([]uint32, (n.Size+BlockSize-1)/BlockSize)
	first := true
	for i := range n.Blocks {
		raw := make([]byte, min(BlockSize, n.Size-int64(i)*BlockSize))
		if _, err := io.ReadFull(r, raw); err != nil {
			return err
		}
		if len(raw) == BlockSize && zero(raw) {
			n.Blocks[i] = zeroSize
			continue
		}
		if err := p.submit(&block{raw: raw, node: n, number: i, first: first, done: make(chan struct{})}); err != nil {
			return err
		}
		first = false
	}
	return nil
}

// smallFile puts a file into a fragment.
func (p *packer) smallFile(n *node, r io.Reader) error {
	data := make([]byte, n.Size)
	if _, err := io.ReadFull(r, data); err != nil {
		return err
	}
	digest := sha256.Sum256(data)
	if same := p.small[digest]; same != nil {
		n.Fragment, n.Offset = same.Fragment, same.Offset
		return nil
	}
	p.small[digest] = n
	if len(p.fragment)+len(data) > BlockSize {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if len(p.fragment) == 0 {
		p.count++
	}
	n.Fragment, n.Offset = p.count, uint32(len(p.fragment)) //nolint:gosec // less than a block
	p.fragment = append(p.fragment, data...)
	return nil
}

// flush ends the fragment.
func (p *packer) flush() error {
	if len(p.fragment) == 0 {
		return nil
	}
	raw := p.fragment
	p.fragment = nil
	return p.submit(&block{raw: raw, done: make(chan struct{})})
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
