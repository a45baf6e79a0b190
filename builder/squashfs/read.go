package squashfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// reader cuts the files of a layer into blocks.
type reader struct {
	*packer
	open   *block // the fragment that is being filled, or nil
	number uint32 // of that fragment
	hashed map[[sha256.Size]byte]*content
	small  []byte
	// sizes counts the files of a block and more: only those that share their
	// size with another can be equal to it, and are read twice.
	sizes map[int64]int
}

func (r *reader) read(ctx context.Context, entries []Entry) ([]*content, error) {
	r.sizes = map[int64]int{}
	for _, e := range entries {
		if e.Kind == File && e.Size >= int64(r.blockSize) {
			r.sizes[e.Size]++
		}
	}
	contents := make([]*content, len(entries))
	for i, e := range entries {
		if e.Kind != File || e.Size == 0 {
			continue
		}
		var err error
		if contents[i], err = r.file(ctx, e); err != nil {
			return nil, fmt.Errorf("/%s: %w", e.Path, err)
		}
	}
	r.flush()
	return contents, nil
}

func (r *reader) file(ctx context.Context, e Entry) (*content, error) {
	if e.Size < int64(r.blockSize) {
		return r.tiny(ctx, e)
	}
	var sum [sha256.Size]byte
	if r.sizes[e.Size] > 1 {
		var err error
		if sum, err = digest(e); err != nil {
			return nil, err
		}
		if c := r.hashed[sum]; c != nil {
			return c, nil
		}
	}
	n := (e.Size + int64(r.blockSize) - 1) / int64(r.blockSize)
	c := &content{words: make([]uint32, n), fragment: none}
	if r.sizes[e.Size] > 1 {
		r.hashed[sum] = c
	}
	in, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	left := e.Size
	for i := range c.words {
		b, err := r.take(ctx)
		if err != nil {
			return nil, err
		}
		b.raw = b.raw[:min(left, int64(r.blockSize))]
		if err := full(in, b.raw); err != nil {
			return nil, err
		}
		left -= int64(len(b.raw))
		r.send(b, func(start uint64, word uint32) {
			if i == 0 {
				c.start = start
			}
			c.words[i] = word
		})
	}
	return c, ended(in)
}

// tiny adds a file to a fragment.
func (r *reader) tiny(ctx context.Context, e Entry) (*content, error) {
	in, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data := r.small[:e.Size]
	if err := full(in, data); err != nil {
		return nil, err
	}
	if err := ended(in); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	if c := r.hashed[sum]; c != nil {
		return c, nil
	}
	if r.open != nil && len(r.open.raw)+len(data) > r.blockSize {
		r.flush()
	}
	if r.open == nil {
		if r.open, err = r.take(ctx); err != nil {
			return nil, err
		}
	}
	c := &content{fragment: r.number, fragmentOffset: uint32(len(r.open.raw))}
	r.open.raw = append(r.open.raw, data...)
	r.hashed[sum] = c
	return c, nil
}

func (r *reader) flush() {
	if r.open == nil {
		return
	}
	p := r.packer
	r.open.shared = true
	r.send(r.open, func(start uint64, word uint32) {
		p.fragments = append(p.fragments, fragment{start, word})
	})
	r.open = nil
	r.number++
}

func digest(e Entry) ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	in, err := e.Open()
	if err != nil {
		return sum, err
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

func full(in io.Reader, b []byte) error {
	_, err := io.ReadFull(in, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errSize
	}
	return err
}

func ended(in io.Reader) error {
	var b [1]byte
	switch _, err := io.ReadFull(in, b[:]); {
	case err == nil:
		return errSize
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}

// pack compresses a block. A file's block of zeros is not stored; a fragment's
// is, the format has no word for its absence.
func (b *block) pack(enc *zstd.Encoder, zeros []byte) {
	if !b.shared && bytes.Equal(b.raw, zeros[:len(b.raw)]) {
		b.stored, b.word = nil, 0
		return
	}
	b.packed = enc.EncodeAll(b.raw, b.packed[:0])
	b.stored, b.word = b.packed, uint32(len(b.packed))
	if len(b.packed) >= len(b.raw) {
		b.stored, b.word = b.raw, uint32(len(b.raw))|uncompressed
	}
}
