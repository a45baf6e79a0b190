package seed

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Magic begins a partition that holds a seed.
const Magic = "K8SSEED1"

// HeaderSize is the length of the header: magic, length and digest.
const HeaderSize = len(Magic) + 4 + sha256.Size

// Errors that callers tell apart.
var (
	// ErrEmpty means that the partition holds no seed.
	ErrEmpty = errors.New("seed partition is empty")
	// ErrCorrupt means that it holds something else than a whole seed.
	ErrCorrupt = errors.New("seed partition is corrupt")
)

// Encode returns the bytes to write at the start of a seed partition of size
// bytes.
func Encode(payload []byte, size int64) ([]byte, error) {
	if len(payload) == 0 {
		return nil, errors.New("encoding seed: payload is empty")
	}
	if room := size - int64(HeaderSize); int64(len(payload)) > room {
		return nil, fmt.Errorf("encoding seed: payload of %d bytes does not fit into a partition of %d bytes", len(payload), size)
	}
	b := make([]byte, 0, HeaderSize+len(payload))
	b = append(b, Magic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	sum := sha256.Sum256(payload)
	b = append(b, sum[:]...)
	return append(b, payload...), nil
}

// Decode reads the payload from a seed partition of size bytes. It returns an
// error that wraps [ErrEmpty] or [ErrCorrupt], or the error of r.
func Decode(r io.ReaderAt, size int64) ([]byte, error) {
	if size < int64(HeaderSize) {
		return nil, fmt.Errorf("%w: %d bytes are too few for a header", ErrCorrupt, size)
	}
	header := make([]byte, HeaderSize)
	if _, err := r.ReadAt(header, 0); err != nil {
		return nil, fmt.Errorf("reading seed: %w", err)
	}
	if bytes.Equal(header, make([]byte, HeaderSize)) {
		return nil, ErrEmpty
	}
	if string(header[:len(Magic)]) != Magic {
		return nil, fmt.Errorf("%w: no magic number", ErrCorrupt)
	}
	length := int64(binary.BigEndian.Uint32(header[len(Magic):]))
	if length == 0 || length > size-int64(HeaderSize) {
		return nil, fmt.Errorf("%w: length %d is out of range", ErrCorrupt, length)
	}
	payload := make([]byte, length)
	// A ReaderAt may return io.EOF with the last byte.
	if n, err := r.ReadAt(payload, int64(HeaderSize)); n < len(payload) {
		return nil, fmt.Errorf("reading seed: %w", err)
	}
	if sum := sha256.Sum256(payload); !bytes.Equal(sum[:], header[len(Magic)+4:]) {
		return nil, fmt.Errorf("%w: digest does not match", ErrCorrupt)
	}
	return payload, nil
}
