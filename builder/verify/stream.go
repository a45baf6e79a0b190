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

	"golang.org/x/sys/unix"
)

// chunkSize is what is read at once: it stays in the processor's cache between
// the reading and the hashing.
const chunkSize = 256 << 10

// zeroChunk stands for the holes of a sparse file, which are hashed without
// being read.
var zeroChunk [chunkSize]byte //nolint:gochecknoglobals // constant

// extents calls visit for every range of a file between low and high, in order:
// holes and data. A file system that knows no holes has one range of data.
func extents(f *os.File, low, high int64, visit func(offset, length int64, hole bool) error) error {
	for at := low; at < high; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO), err == nil && data > high:
			data = high
		case err != nil:
			data = at
		}
		if data > at {
			if err := visit(at, data-at, true); err != nil {
				return err
			}
			at = data
			continue
		}
		end, err := unix.Seek(int(f.Fd()), at, unix.SEEK_HOLE)
		if err != nil || end > high {
			end = high
		}
		if err := visit(at, end-at, false); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// digest returns the hexadecimal SHA-256 of a file.
func digest(ctx context.Context, name string, progress func(n int64)) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	buf := make([]byte, chunkSize)
	err = extents(f, 0, st.Size(), func(offset, length int64, hole bool) error {
		for done := int64(0); done < length; {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := zeroChunk[:min(chunkSize, length-done)]
			if !hole {
				b = buf[:len(b)]
				if _, err := f.ReadAt(b, offset+done); err != nil {
					return err
				}
			}
			h.Write(b)
			done += int64(len(b))
			progress(int64(len(b)))
		}
		return nil
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
	err := extents(f, low, high, func(offset, length int64, hole bool) error {
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
