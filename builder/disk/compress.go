package disk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/k8snode/k8snode/images"
)

// BlockSize is the size of a block of the map in bytes: small enough that a
// retry is cheap, large enough that zstd and disks work well.
const BlockSize = 4 * mib

// Compress writes the non-zero blocks of the raw image to dst, each as one
// zstd frame, and returns their map. Blocks are compressed in parallel; the
// result does not depend on the number of workers.
func Compress(ctx context.Context, raw, dst string) (images.BlockMap, error) {
	in, err := os.Open(raw)
	if err != nil {
		return images.BlockMap{}, err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return images.BlockMap{}, err
	}
	out, err := os.Create(dst)
	if err != nil {
		return images.BlockMap{}, err
	}
	defer out.Close()
	c, err := newCompressor(in, st.Size())
	if err != nil {
		return images.BlockMap{}, fmt.Errorf("compressing %q: %w", raw, err)
	}
	defer c.enc.Close() //nolint:errcheck // EncodeAll leaves nothing to flush

	m := images.BlockMap{Version: 1, Size: st.Size()}
	var stored int64
	for r := range c.blocks(ctx) {
		if r.err != nil {
			return images.BlockMap{}, fmt.Errorf("compressing %q: %w", raw, r.err)
		}
		if r.frame == nil {
			continue
		}
		if _, err := out.Write(r.frame); err != nil {
			return images.BlockMap{}, fmt.Errorf("writing %q: %w", dst, err)
		}
		r.block.StoredOffset, r.block.StoredLength = stored, int64(len(r.frame))
		stored += r.block.StoredLength
		m.Blocks = append(m.Blocks, r.block)
		c.frames.Put(&r.frame)
	}
	if err := ctx.Err(); err != nil {
		return images.BlockMap{}, err
	}
	return m, out.Close()
}

type result struct {
	block images.Block
	frame []byte // nil for a block of zeros
	err   error
}

// compressor holds what the workers share: buffers and one encoder, whose
// state is reused from block to block.
type compressor struct {
	in      *os.File
	size    int64
	workers int
	enc     *zstd.Encoder
	raws    sync.Pool
	frames  sync.Pool
}

func newCompressor(in *os.File, size int64) (*compressor, error) {
	c := &compressor{in: in, size: size, workers: runtime.GOMAXPROCS(0)}
	buffer := func() any { return new([]byte) }
	c.raws.New, c.frames.New = buffer, buffer
	var err error
	// Nearly all of an image is compressed already, in the squashfs and in the
	// initramfs. The fastest level finds that out soonest.
	c.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(c.workers), zstd.WithEncoderCRC(false))
	return c, err
}

// blocks yields one result for each block that is not in a hole of the file,
// in order.
func (c *compressor) blocks(ctx context.Context) func(yield func(result) bool) {
	return func(yield func(result) bool) {
		ctx, cancel := context.WithCancel(ctx)
		slots := make(chan chan result, 2*c.workers) // results, in order
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() {
			defer close(slots)
			running := make(chan struct{}, c.workers)
			for offset := c.nextData(0); offset < c.size; offset = c.nextData(offset + BlockSize) {
				slot := make(chan result, 1)
				select {
				case slots <- slot:
				case <-ctx.Done():
					return
				}
				running <- struct{}{}
				wg.Go(func() {
					defer func() { <-running }()
					slot <- c.block(offset, min(BlockSize, c.size-offset))
				})
			}
		})
		for slot := range slots {
			select {
			case r := <-slot:
				if !yield(r) || r.err != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// nextData returns the first block at or behind offset that has data. A file
// system that knows no holes has data everywhere.
func (c *compressor) nextData(offset int64) int64 {
	at, err := c.in.Seek(offset, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return c.size
	case err != nil:
		return offset
	}
	return at / BlockSize * BlockSize
}

func (c *compressor) block(offset, length int64) result {
	buffer, _ := c.raws.Get().(*[]byte)
	defer c.raws.Put(buffer)
	if cap(*buffer) < BlockSize {
		*buffer = make([]byte, BlockSize)
	}
	raw := (*buffer)[:length]
	if _, err := c.in.ReadAt(raw, offset); err != nil && !errors.Is(err, io.EOF) {
		return result{err: err}
	}
	if zero(raw) {
		return result{}
	}
	frame, _ := c.frames.Get().(*[]byte)
	sum := sha256.Sum256(raw)
	return result{
		block: images.Block{Offset: offset, Length: length, SHA256: hex.EncodeToString(sum[:])},
		frame: c.enc.EncodeAll(raw, (*frame)[:0]),
	}
}

func zero(b []byte) bool {
	for len(b) >= 8 {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
