package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Target is an open disk, or a regular file in its place.
type Target interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Zero makes a range read as zeros; offset and length are multiples of
	// the disk's logical sector size.
	Zero(ctx context.Context, offset, length int64) error
	// Sync returns when everything that was written is on the medium.
	Sync() error
	// DropCaches makes the next read come from the medium.
	DropCaches() error
	// RereadTable makes the kernel see the partition table on the disk.
	RereadTable() error
}

// Open opens a disk for writing, for this process alone: a disk of which any
// part is mounted, or used by the device mapper or a RAID, is refused.
func Open(path string) (Target, error) {
	// O_EXCL without O_CREAT is defined by Linux for block devices: open(2).
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("opening %s: the disk is in use (mounted, or part of a RAID or a volume group): %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening disk: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening disk: %w", err)
	}
	return &device{File: f, block: info.Mode()&os.ModeDevice != 0}, nil
}

type device struct {
	*os.File
	block bool
}

// zeroChunk is what one request zeroes: small enough that a cancelled install
// ends soon.
const zeroChunk = 64 << 20

func (d *device) Zero(ctx context.Context, offset, length int64) error {
	for length > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(length, zeroChunk)
		if err := d.zero(offset, n); err != nil {
			return err
		}
		offset, length = offset+n, length-n
	}
	return nil
}

// zero lets the device do the work where it can; the kernel falls back to
// writing for disks that cannot, this code for regular files.
func (d *device) zero(offset, length int64) error {
	if d.block {
		span := [2]uint64{uint64(offset), uint64(length)}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), unix.BLKZEROOUT, uintptr(unsafe.Pointer(&span)))
		if errno == 0 {
			return nil
		}
	}
	zeros := make([]byte, min(length, 1<<20))
	for length > 0 {
		n, err := d.WriteAt(zeros[:min(length, int64(len(zeros)))], offset)
		if err != nil {
			return err
		}
		offset, length = offset+int64(n), length-int64(n)
	}
	return nil
}

func (d *device) DropCaches() error {
	if !d.block {
		return unix.Fadvise(int(d.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	return d.ioctl("BLKFLSBUF", unix.BLKFLSBUF)
}

func (d *device) RereadTable() error {
	if !d.block {
		return nil
	}
	return d.ioctl("BLKRRPART", unix.BLKRRPART)
}

func (d *device) ioctl(name string, request uint) error {
	if err := unix.IoctlSetInt(int(d.Fd()), request, 0); err != nil {
		return fmt.Errorf("ioctl %s on %s: %w", name, d.Name(), err)
	}
	return nil
}
