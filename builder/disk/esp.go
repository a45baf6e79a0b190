package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/k8snode/k8snode/images"
)

// A FileSystem is a file system inside an image, open for reading. Names are
// compared with regard to case, other than by firmware.
type FileSystem struct {
	fs.FS
	image *os.File
}

// Close closes the image.
func (f *FileSystem) Close() error { return f.image.Close() }

// OpenESP opens the EFI system partition of an image with a GPT.
func OpenESP(name string) (*FileSystem, error) {
	info, err := Read(name)
	if err != nil {
		return nil, err
	}
	for _, p := range info.Partitions {
		if p.Type != TypeESP {
			continue
		}
		f, err := openFATAt(name, p)
		if err != nil {
			return nil, fmt.Errorf("opening the EFI system partition: %w", err)
		}
		return f, nil
	}
	return nil, errors.New("opening the EFI system partition: there is none")
}

func openFATAt(name string, p images.Partition) (*FileSystem, error) {
	image, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	r := io.NewSectionReader(image, p.Start, p.Size)
	f, err := openFAT(r)
	if err != nil {
		image.Close()
		return nil, err
	}
	files, err := f.files()
	if err != nil {
		image.Close()
		return nil, err
	}
	return &FileSystem{FS: NewFS(r, files), image: image}, nil
}

// A FAT is a small file system in a file of its own: an EFI system partition
// for a CD.
type FAT struct {
	// Label has at most eleven characters, in upper case.
	Label  string
	Serial uint32
	Epoch  time.Time
	Files  []FATFile
}

// A FATFile is a file of a FAT. Path is absolute; Content is not empty.
type FATFile struct {
	Path    string
	Content []byte
}

// minFAT16 has more than minClusters of 1 KiB, which is what go-diskfs makes.
const minFAT16 = 5 * mib

// Write makes the file dst, which does not exist yet, with FAT16 or FAT32,
// whichever the content needs.
func (f FAT) Write(dst string) error {
	size := int64(mib)
	for _, c := range f.Files {
		size += int64(len(c.Content))
	}
	size = max(minFAT16, (size+size/16+mib-1)/mib*mib)
	image, err := os.OpenFile(dst, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("making a FAT file system: %w", err)
	}
	defer image.Close()
	if err := f.fill(image, size); err != nil {
		return fmt.Errorf("making a FAT file system: %w", err)
	}
	return image.Close()
}

func (f FAT) fill(image *os.File, size int64) error {
	if err := image.Truncate(size); err != nil {
		return err
	}
	w, err := newFAT(image, fatOptions{size: size, sector: DefaultSectorSize, label: f.Label, serial: f.Serial, epoch: f.Epoch})
	if err != nil {
		return err
	}
	for _, c := range f.Files {
		if _, err := w.add(c.Path, bytes.NewReader(c.Content), int64(len(c.Content))); err != nil {
			return err
		}
	}
	return w.finish()
}
