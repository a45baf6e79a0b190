package disk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"

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

	m := images.BlockMap{Version: 1, Size: st.Size()}
	var stored int64
	for r := range compressBlocks(ctx, in, st.Size()) {
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

// compressBlocks yields one result for each block, in order.
func compressBlocks(ctx context.Context, in io.ReaderAt, size int64) func(yield func(result) bool) {
	return func(yield func(result) bool) {
		ctx, cancel := context.WithCancel(ctx)
		workers := runtime.GOMAXPROCS(0)
		slots := make(chan chan result, 2*workers) // results, in order
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() {
			defer close(slots)
			running := make(chan struct{}, workers)
			for offset := int64(0); offset < size; offset += BlockSize {
				slot := make(chan result, 1)
				select {
				case slots <- slot:
				case <-ctx.Done():
					return
				}
				running <- struct{}{}
				wg.Go(func() {
					defer func() { <-running }()
					slot <- compressBlock(in, offset, min(BlockSize, size-offset))
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

func compressBlock(in io.ReaderAt, offset, length int64) result {
	raw := make([]byte, length)
	if _, err := in.ReadAt(raw, offset); err != nil && err != io.EOF { //nolint:errorlint // ReadAt returns it bare
		return result{err: err}
	}
	if zero(raw) {
		return result{}
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return result{err: err}
	}
	defer enc.Close() //nolint:errcheck // EncodeAll leaves nothing to flush
	sum := sha256.Sum256(raw)
	return result{
		block: images.Block{Offset: offset, Length: length, SHA256: hex.EncodeToString(sum[:])},
		frame: enc.EncodeAll(raw, nil),
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
