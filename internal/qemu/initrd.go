package qemu

import (
	"fmt"
	"io"
	"os"

	"github.com/k8snode/k8snode/provision/cpio"
)

// WriteInitrd writes what a network boot loader hands to the kernel: the
// initramfs in the file initrd, then the root in the file root, at the path
// inside of the initramfs that is given, then further files. QEMU takes one
// file where a boot loader fetches several.
func WriteInitrd(w io.Writer, initrd, root, path string, files ...cpio.File) error {
	size, err := copyFile(w, initrd)
	if err != nil {
		return fmt.Errorf("joining the initramfs: %w", err)
	}
	// An archive begins on a multiple of four.
	if _, err := w.Write(make([]byte, -size&3)); err != nil {
		return fmt.Errorf("joining the initramfs: %w", err)
	}
	f, err := os.Open(root)
	if err != nil {
		return fmt.Errorf("joining the initramfs: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("joining the initramfs: %w", err)
	}
	if err := cpio.WriteLarge(w, path, 0o600, info.Size(), f); err != nil {
		return fmt.Errorf("joining the initramfs: %w", err)
	}
	if len(files) == 0 {
		return nil
	}
	more, err := cpio.Archive(files...)
	if err != nil {
		return fmt.Errorf("joining the initramfs: %w", err)
	}
	if _, err := w.Write(more); err != nil {
		return fmt.Errorf("joining the initramfs: %w", err)
	}
	return nil
}

func copyFile(w io.Writer, path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(w, f)
}
