package cpio

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
)

// WriteLarge writes an archive of one regular file in the root folder, without
// holding the content in memory: its size in bytes must be known, and content
// must have exactly that many.
func WriteLarge(to io.Writer, file string, mode fs.FileMode, size int64, content io.Reader) error {
	if path.Dir(file) != "/" || path.Base(file) == "/" || path.Base(file) == trailer {
		return fmt.Errorf("archiving %q: not the path of a file in the root folder", file)
	}
	if mode&^fs.ModePerm != 0 {
		return fmt.Errorf("archiving %q: mode %v is more than permission bits", file, mode)
	}
	if size < 0 || size > math.MaxUint32 {
		return fmt.Errorf("archiving %q: %d bytes is not a size that the format can say", file, size)
	}
	var w writer
	w.header(path.Base(file), modeFile|uint32(mode), 1, uint32(size))
	head := int64(w.buf.Len())
	if _, err := w.buf.WriteTo(to); err != nil {
		return fmt.Errorf("archiving %q: %w", file, err)
	}
	n, err := io.Copy(to, io.LimitReader(content, size+1))
	if err != nil {
		return fmt.Errorf("archiving %q: %w", file, err)
	}
	if n != size {
		return fmt.Errorf("archiving %q: its content is not %d bytes long", file, size)
	}
	w.header(trailer, 0, 1, 0)
	gap := padding(size, 4)
	end := padding(head+size+int64(len(gap)+w.buf.Len()), blockSize)
	if _, err := to.Write(slices.Concat(gap, w.buf.Bytes(), end)); err != nil {
		return fmt.Errorf("archiving %q: %w", file, err)
	}
	return nil
}

// padding is what n bytes lack to a multiple of unit, a power of two.
func padding(n, unit int64) []byte { return make([]byte, -n&(unit-1)) }
