package squashfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
)

// A Layer is a packed layer that is open for reading.
type Layer struct {
	file  *os.File
	index index
	data  int64 // bytes
	sum   []byte
}

// Open opens what [Pack] wrote and checks its index; [Layer.Check] checks the
// data, too.
func Open(name string) (*Layer, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening a layer: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening a layer: %w", err)
	}
	l := &Layer{file: f}
	if l.index, l.data, l.sum, err = readIndex(f, st.Size()); err != nil {
		f.Close()
		return nil, fmt.Errorf("opening the layer %q: %w", name, err)
	}
	return l, nil
}

// Close closes the file.
func (l *Layer) Close() error { return l.file.Close() }

// Check compares the data with the digest that Pack left. It reads all of it,
// which [Assemble] does not.
func (l *Layer) Check(ctx context.Context) error {
	h := sha256.New()
	if err := copyData(ctx, h, io.NewSectionReader(l.file, 0, l.data), l.data); err != nil {
		return fmt.Errorf("reading the layer %q: %w", l.file.Name(), err)
	}
	if !bytes.Equal(h.Sum(nil), l.sum) {
		return fmt.Errorf("reading the layer %q: %w", l.file.Name(), errors.New("its data is damaged"))
	}
	return nil
}

// copyPiece is how much is copied between two looks at the context.
const copyPiece = 64 << 20

// copyData copies n bytes. From file to file the kernel does it.
func copyData(ctx context.Context, w io.Writer, r io.Reader, n int64) error {
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := min(n, copyPiece)
		if _, err := io.CopyN(w, r, piece); err != nil {
			return err
		}
		n -= piece
	}
	return nil
}
