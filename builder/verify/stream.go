package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/k8snode/k8snode/builder/source"
)

// chunkSize is what is read at once.
const chunkSize = 256 << 10

// zeroChunk is for comparisons.
var zeroChunk [chunkSize]byte //nolint:gochecknoglobals // constant

// digest returns the hexadecimal SHA-256 of a file.
func digest(ctx context.Context, name string, progress func(n int64)) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	err = source.ReadSparse(f, func(b []byte) error {
		h.Write(b)
		progress(int64(len(b)))
		return ctx.Err()
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// errDiffer says where two ranges of bytes first differ.
type errDiffer struct{ at int64 }

func (e errDiffer) Error() string { return fmt.Sprintf("they differ at byte %d", e.at) }

// same compares size bytes of two readers.
func same(ctx context.Context, a, b io.ReaderAt, size int64) error {
	x, y := make([]byte, chunkSize), make([]byte, chunkSize)
	for at := int64(0); at < size; at += chunkSize {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(chunkSize, size-at)
		if _, err := a.ReadAt(x[:n], at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := b.ReadAt(y[:n], at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !bytes.Equal(x[:n], y[:n]) {
			i := int64(0)
			for x[i] == y[i] {
				i++
			}
			return errDiffer{at + i}
		}
	}
	return nil
}

// firstNonZero returns the offset of the first byte of a file in the range
// from low to high that is not zero, or -1.
func firstNonZero(ctx context.Context, f *os.File, low, high int64) (int64, error) {
	found := int64(-1)
	buf := make([]byte, chunkSize)
	err := source.Extents(f, low, high, func(offset, length int64, hole bool) error {
		if hole || found >= 0 {
			return nil
		}
		for at := offset; at < offset+length; at += chunkSize {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := buf[:min(chunkSize, offset+length-at)]
			if _, err := f.ReadAt(b, at); err != nil {
				return err
			}
			if bytes.Equal(b, zeroChunk[:len(b)]) {
				continue
			}
			i := int64(0)
			for b[i] == 0 {
				i++
			}
			found = at + i
			return nil
		}
		return nil
	})
	return found, err
}
