package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/fat16"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
)

// fatOptions describe a file system to make.
type fatOptions struct {
	start, size int64
	sector      int
	label       string
	serial      uint32
	epoch       time.Time
}

// fatWriter fills a new FAT file system of an image. Go-diskfs makes folders,
// entries and chains; the content of files is copied beside it, because it
// writes cluster by cluster and the whole table at every write. It writes
// sectors of 4096 bytes as well as those of 512, which fsck.fat, Linux and
// EDK2 accept.
type fatWriter struct {
	image *os.File
	fs    filesystem.FileSystem
	o     fatOptions
	dirs  map[string]bool
}

// errFull says that a file is too large.
var errFull = errors.New("not fit into the file system")

// newFAT makes FAT16 below the smallest size of FAT32.
func newFAT(image *os.File, o fatOptions) (*fatWriter, error) {
	w := &fatWriter{image: image, o: o, dirs: map[string]bool{"/": true}}
	b := file.New(image, false)
	var err error
	if o.size < int64(minESP(o.sector))*mib {
		w.fs, err = fat16.Create(b, o.size, o.start, int64(o.sector), o.label, true)
	} else {
		w.fs, err = fat32.Create(b, o.size, o.start, int64(o.sector), o.label, true)
	}
	if err != nil {
		return nil, fmt.Errorf("making the file system: %w", err)
	}
	if err := w.trim(); err != nil {
		return nil, fmt.Errorf("making the file system: %w", err)
	}
	return w, nil
}

// trim takes the clusters off the end that the allocation table has no entries
// for: go-diskfs v1.9.4 computes the table of FAT32 without the two entries
// that stand for no cluster.
func (w *fatWriter) trim() error {
	b := make([]byte, 512)
	if _, err := w.image.ReadAt(b, w.o.start); err != nil {
		return err
	}
	g := parseBPB(b)
	if g.bits != 32 || g.clusters() <= g.entries() {
		return nil
	}
	total := uint32((g.data + g.entries()*g.cluster) / g.sector)
	for _, at := range []int64{0, g.backup} {
		if _, err := w.image.WriteAt(binary.LittleEndian.AppendUint32(nil, total), w.o.start+at+32); err != nil {
			return err
		}
	}
	return nil
}

func (w *fatWriter) mkdir(dir string) error {
	if w.dirs[dir] {
		return nil
	}
	if err := w.mkdir(path.Dir(dir)); err != nil {
		return err
	}
	w.dirs[dir] = true
	if err := w.fs.Mkdir(dir); err != nil {
		return fmt.Errorf("making folder %s: %w", dir, err)
	}
	return nil
}

// add allocates a file and copies size bytes into it. It returns where they
// are in the file system: one range, which is read back from the table.
func (w *fatWriter) add(name string, src io.Reader, size int64) (Extent, error) {
	if err := w.mkdir(path.Dir(name)); err != nil {
		return Extent{}, err
	}
	f, err := w.fs.OpenFile(name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return Extent{}, fmt.Errorf("making %s: %w", name, err)
	}
	// One write at the end allocates all clusters at once.
	if _, err := f.Seek(size-1, io.SeekStart); err != nil {
		return Extent{}, fmt.Errorf("allocating %s: %w", name, err)
	}
	if _, err := f.Write([]byte{0}); err != nil {
		return Extent{}, fmt.Errorf("allocating %d bytes for %s: %w", size, name, err)
	}
	if err := f.Close(); err != nil {
		return Extent{}, fmt.Errorf("making %s: %w", name, err)
	}
	at, err := w.locate(name, size)
	if err != nil {
		return Extent{}, err
	}
	if err := copyAt(w.image, w.o.start+at.Offset, src, size); err != nil {
		return Extent{}, fmt.Errorf("writing %s: %w", name, err)
	}
	return at, nil
}

func (w *fatWriter) addFile(name, src string) (Extent, error) {
	f, err := os.Open(src)
	if err != nil {
		return Extent{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Extent{}, err
	}
	// The tables and folders need less than one MiB in each 64.
	if st.Size() > w.o.size-mib-w.o.size/64 {
		return Extent{}, fmt.Errorf("writing %s: its %d MiB do %w of %d", name, (st.Size()+mib-1)/mib, errFull, w.o.size/mib)
	}
	return w.add(name, f, st.Size())
}

func (w *fatWriter) read() (*fat, error) {
	return openFAT(io.NewSectionReader(w.image, w.o.start, w.o.size))
}

func (w *fatWriter) locate(name string, size int64) (Extent, error) {
	f, err := w.read()
	if err != nil {
		return Extent{}, fmt.Errorf("reading %s back: %w", name, err)
	}
	files, err := f.files()
	if err != nil {
		return Extent{}, fmt.Errorf("reading %s back: %w", name, err)
	}
	got, ok := find(files, name[1:])
	if !ok || got.Size != size || len(got.Extents) != 1 {
		return Extent{}, fmt.Errorf("internal error: %s is in %d pieces of a new file system", name, len(got.Extents))
	}
	return Extent{got.Extents[0].Offset, size}, nil
}

// finish sets every timestamp and the serial number, and corrects the ".."
// entries of folders in the root: the format wants cluster 0 for "the root"
// there (Microsoft's FAT32 specification, section 6.5), where go-diskfs v1.9.4
// writes the root's own cluster, which fsck.fat calls invalid.
func (w *fatWriter) finish() error {
	f, err := w.read()
	if err != nil {
		return fmt.Errorf("reading the file system back: %w", err)
	}
	date, clock := fatTime(w.o.epoch)
	le := binary.LittleEndian
	err = f.walk(func(e fatEntry) error {
		b := make([]byte, fatDirEntry)
		if _, err := w.image.ReadAt(b, w.o.start+e.at); err != nil {
			return err
		}
		b[13] = 0
		for _, at := range []int{16, 18, 24} {
			le.PutUint16(b[at:], date)
		}
		le.PutUint16(b[14:], clock)
		le.PutUint16(b[22:], clock)
		if e.short[:2] == ".." && e.depth == 1 {
			le.PutUint16(b[20:], 0)
			le.PutUint16(b[26:], 0)
		}
		_, err := w.image.WriteAt(b, w.o.start+e.at)
		return err
	})
	if err != nil {
		return fmt.Errorf("setting timestamps: %w", err)
	}
	field, sectors := int64(39), []int64{0}
	if f.bits == 32 {
		field, sectors = 67, []int64{0, f.backup}
	} else {
		// Go-diskfs reserves the first cluster for a root folder, which FAT16
		// has elsewhere.
		for i := range f.copies {
			if _, err := w.image.WriteAt([]byte{0, 0}, w.o.start+f.tableAt+i*f.tableSize+2*2); err != nil {
				return fmt.Errorf("freeing a cluster: %w", err)
			}
		}
	}
	for _, at := range sectors {
		if _, err := w.image.WriteAt(le.AppendUint32(nil, w.o.serial), w.o.start+at+field); err != nil {
			return fmt.Errorf("setting the serial number: %w", err)
		}
	}
	return nil
}

// copyAt copies size bytes to an offset of the image. Between two files the
// kernel does it.
func copyAt(image *os.File, offset int64, src io.Reader, size int64) error {
	if _, err := image.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(image, io.LimitReader(src, size))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}
