package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// hashChunk is what is read at once: it stays in the processor's cache between
// the reading and the hashing.
const hashChunk = 256 << 10

// zeros stand for the holes of a sparse file, which are hashed without being
// read: the kernel would make pages of zeros for all of them.
var zeros [hashChunk]byte //nolint:gochecknoglobals // constant

// Extents calls visit for every range of a file between low and high, in order:
// holes and data. A file system that knows no holes has one range of data.
func Extents(f *os.File, low, high int64, visit func(offset, length int64, hole bool) error) error {
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

// SumFile returns the hexadecimal SHA-256 and the size of a file.
func SumFile(name string) (string, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	if err := ReadSparse(f, func(b []byte) error { _, err := h.Write(b); return err }); err != nil {
		return "", 0, fmt.Errorf("hashing %q: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), st.Size(), nil
}

// ReadSparse calls visit for the bytes of a file, piece by piece and in order.
// Those of holes are not read.
func ReadSparse(f *os.File, visit func(b []byte) error) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	buf := make([]byte, hashChunk)
	return Extents(f, 0, st.Size(), func(offset, length int64, hole bool) error {
		for done := int64(0); done < length; {
			b := zeros[:min(hashChunk, length-done)]
			if !hole {
				b = buf[:len(b)]
				if _, err := f.ReadAt(b, offset+done); err != nil {
					return err
				}
			}
			if err := visit(b); err != nil {
				return err
			}
			done += int64(len(b))
		}
		return nil
	})
}
