package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// A File is a file that grows by whole writes: one that fails, because the disk is
// full, leaves nothing behind, and the next one may succeed.
type File struct {
	f *os.File
	// size is what is whole.
	size int64
}

// Append returns a File that begins at the end of f. Nobody else writes to f.
func Append(f *os.File) (*File, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	return &File{f, size}, nil
}

// Write implements [io.Writer].
func (f *File) Write(b []byte) (int, error) {
	n, err := f.f.WriteAt(b, f.size)
	if err == nil {
		f.size += int64(n)
		return n, nil
	}
	if undone := f.f.Truncate(f.size); undone != nil {
		return n, errors.Join(err, undone)
	}
	return 0, fmt.Errorf("%w: %w", ErrTakenBack, err)
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }
