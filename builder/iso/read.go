package iso

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/images"
)

// Numbers of ECMA-119 (ISO 9660), the Rock Ridge Interchange Protocol and the
// El Torito specification 1.0.
const (
	sectorSize     = 2048
	primarySector  = 16
	bootSector     = 17
	rootRecord     = 156
	flagDir        = 0x02
	flagMoreExtent = 0x80

	// What a damaged ISO may cost at most: folders may contain themselves.
	maxDepth   = 8
	maxDirSize = 1 << 16
	maxEntries = 4096

	platformBIOS = 0x00
	platformEFI  = 0xef
)

// An Image is an ISO, open for reading.
type Image struct {
	fs.FS
	// Label is the volume label.
	Label string
	// Boot are the entries of the boot catalog, in order.
	Boot  []BootEntry
	files []disk.File
	file  *os.File
}

// A BootEntry is what firmware may start from a CD.
type BootEntry struct {
	// EFI tells UEFI from BIOS.
	EFI bool
	// At is the range of the ISO that is started; its size is what the
	// firmware loads at first.
	At disk.Extent
}

// Close closes the file.
func (i *Image) Close() error { return i.file.Close() }

// Open reads the folders and the boot catalog of an ISO.
func Open(name string) (*Image, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening the ISO: %w", err)
	}
	image, err := Read(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("opening the ISO: %w", err)
	}
	image.file = f
	return image, nil
}

// Read is [Open] for what is open already: closing the image is the caller's.
func Read(r io.ReaderAt) (*Image, error) {
	b, err := readSector(r, primarySector)
	if err != nil {
		return nil, fmt.Errorf("reading the volume descriptor: %w", err)
	}
	if b[0] != 1 || string(b[1:6]) != "CD001" {
		return nil, errors.New("reading the volume descriptor: not an ISO 9660 file system")
	}
	image := &Image{Label: strings.TrimRight(string(b[40:72]), " ")}
	root, err := parseRecord(b[rootRecord:])
	if err != nil {
		return nil, fmt.Errorf("reading the volume descriptor: %w", err)
	}
	w := walker{r: r}
	if err := w.walk("", root.at, 0); err != nil {
		return nil, err
	}
	image.FS, image.files = disk.NewFS(r, w.files), w.files
	if image.Boot, err = readCatalog(r); err != nil {
		return nil, fmt.Errorf("reading the boot catalog: %w", err)
	}
	return image, nil
}

func readSector(r io.ReaderAt, lba int64) ([]byte, error) {
	b := make([]byte, sectorSize)
	_, err := r.ReadAt(b, lba*sectorSize)
	return b, err
}

// record is an entry of a folder.
type record struct {
	size    int // of the record
	name    string
	at      disk.Extent
	modTime time.Time
	flags   byte
}

var errRecord = errors.New("damaged entry of a folder")

func parseRecord(b []byte) (record, error) {
	if len(b) < 34 || int(b[0]) > len(b) || int(b[0]) < 33+int(b[32]) {
		return record{}, errRecord
	}
	b = b[:b[0]]
	le := binary.LittleEndian
	rec := record{
		size: len(b), flags: b[25],
		at:      disk.Extent{Offset: int64(le.Uint32(b[2:])) * sectorSize, Size: int64(le.Uint32(b[10:]))},
		modTime: time.Date(1900+int(b[18]), time.Month(b[19]), int(b[20]), int(b[21]), int(b[22]), int(b[23]), 0, time.UTC).Add(-time.Duration(int8(b[24])) * 15 * time.Minute),
	}
	rec.name, _, _ = strings.Cut(string(b[33:33+int(b[32])]), ";")
	system := b[33+int(b[32]):]
	if b[32]%2 == 0 && len(system) > 0 {
		system = system[1:]
	}
	if name := rockRidgeName(system); name != "" {
		rec.name = name
	}
	return rec, nil
}

// rockRidgeName joins the NM entries of a record.
func rockRidgeName(b []byte) string {
	var name string
	for len(b) >= 4 && int(b[2]) >= 4 && int(b[2]) <= len(b) {
		if string(b[:2]) == "NM" && b[2] >= 5 {
			name += string(b[5:b[2]])
		}
		b = b[b[2]:]
	}
	return name
}

// walker gathers the files of a tree of folders.
type walker struct {
	r       io.ReaderAt
	files   []disk.File
	entries int
}

func (w *walker) walk(dir string, at disk.Extent, depth int) error {
	if depth > maxDepth || at.Size > maxDirSize {
		return fmt.Errorf("reading folder %q: too large or too deep", dir)
	}
	b := make([]byte, at.Size)
	if _, err := w.r.ReadAt(b, at.Offset); err != nil {
		return fmt.Errorf("reading folder %q: %w", dir, err)
	}
	var file disk.File // its extents so far
	for n, i := 0, 0; i < len(b); n++ {
		if b[i] == 0 { // entries do not cross sectors
			i = (i/sectorSize + 1) * sectorSize
			continue
		}
		rec, err := parseRecord(b[i:])
		if err != nil {
			return fmt.Errorf("reading folder %q: %w", dir, err)
		}
		i += rec.size
		if n < 2 { // the folder itself and its parent
			continue
		}
		name := path.Join(dir, rec.name)
		if w.entries++; w.entries > maxEntries || !fs.ValidPath(name) || strings.Contains(rec.name, "/") {
			return fmt.Errorf("reading folder %q: %w", dir, errRecord)
		}
		if rec.flags&flagDir != 0 {
			if err := w.walk(name, rec.at, depth+1); err != nil {
				return err
			}
			continue
		}
		file.Path, file.ModTime = name, rec.modTime
		file.Size += rec.at.Size
		file.Extents = append(file.Extents, rec.at)
		if rec.flags&flagMoreExtent == 0 {
			w.files = append(w.files, file)
			file = disk.File{}
		}
	}
	return nil
}

// readCatalog reads the El Torito boot catalog.
func readCatalog(r io.ReaderAt) ([]BootEntry, error) {
	le := binary.LittleEndian
	b, err := readSector(r, bootSector)
	if err != nil {
		return nil, err
	}
	if b[0] != 0 || !strings.HasPrefix(string(b[1:]), "CD001\x01EL TORITO SPECIFICATION") {
		return nil, errors.New("there is none")
	}
	if b, err = readSector(r, int64(le.Uint32(b[0x47:]))); err != nil {
		return nil, err
	}
	var sum uint16
	for i := 0; i < 32; i += 2 {
		sum += le.Uint16(b[i:])
	}
	if b[0] != 1 || b[30] != 0x55 || b[31] != 0xaa || sum != 0 {
		return nil, errors.New("its first entry is damaged")
	}
	platform := b[1]
	var entries []BootEntry
	for b = b[32:]; len(b) >= 32; b = b[32:] {
		switch b[0] {
		case 0x88: // bootable
			entries = append(entries, BootEntry{
				EFI: platform == platformEFI,
				At:  disk.Extent{Offset: int64(le.Uint32(b[8:])) * sectorSize, Size: int64(le.Uint16(b[6:])) * 512},
			})
		case 0x90, 0x91: // header of another platform
			platform = b[1]
		}
	}
	return entries, nil
}

// Area is where the embed area of an installer is, a range of the file.
func (i *Image) Area() (disk.Extent, error) {
	n := slices.IndexFunc(i.files, func(f disk.File) bool { return f.Path == areaPath })
	if n < 0 {
		return disk.Extent{}, fmt.Errorf("looking for the embed area: there is no %s: it is not the ISO of an installer", images.InstallerArea)
	}
	file := i.files[n]
	if len(file.Extents) != 1 || file.Size != images.InstallerAreaSize {
		return disk.Extent{}, fmt.Errorf("looking for the embed area: %s has %d bytes in %d parts, not %d in one",
			images.InstallerArea, file.Size, len(file.Extents), images.InstallerAreaSize)
	}
	return file.Extents[0], nil
}

// Embed writes the embed area of the installer in f, which must be empty.
func Embed(f interface {
	io.ReaderAt
	io.WriterAt
}, area []byte,
) error {
	image, err := Read(f)
	if err != nil {
		return err
	}
	if err := image.checkArea(); err != nil {
		return err
	}
	at, err := image.Area()
	if err != nil {
		return err
	}
	if int64(len(area)) != at.Size {
		return fmt.Errorf("internal error: %d bytes are for an embed area of %d", len(area), at.Size)
	}
	_, err = f.WriteAt(area, at.Offset)
	return err
}

// Check looks at what firmware relies on: both partition tables, the boot
// catalog, and the EFI system partition, which both shall mean; and that the
// files of a live ISO are there.
func Check(name string) error {
	return check(name, func(i *Image) error {
		_, err := fs.Stat(i, RootPath)
		return err
	})
}

// CheckInstaller is Check for an installer, whose embed area must be empty.
func CheckInstaller(name string) error { return check(name, (*Image).checkArea) }

func check(name string, own func(*Image) error) error {
	image, err := Open(name)
	if err != nil {
		return err
	}
	defer image.Close() //nolint:errcheck // what was read needs no good end
	problems := []error{disk.Check(name), image.checkCatalog(name), own(image)}
	for _, p := range []string{KernelPath, InitrdPath, ConfigPath} {
		if _, err := fs.Stat(image, p); err != nil {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("checking the ISO: %w", err)
	}
	return nil
}

func (i *Image) checkArea() error {
	if _, err := i.Area(); err != nil {
		return err
	}
	b, err := fs.ReadFile(i, areaPath)
	if err == nil && len(bytes.Trim(b, "\x00")) > 0 {
		err = errors.New("the embed area is not empty")
	}
	return err
}

func (i *Image) checkCatalog(name string) error {
	if len(i.Boot) != 2 || i.Boot[0].EFI || !i.Boot[1].EFI {
		return fmt.Errorf("the boot catalog has not one entry for BIOS and one for UEFI: %v", i.Boot)
	}
	info, err := disk.Read(name)
	if err != nil {
		return err
	}
	for _, p := range info.Partitions {
		if p.Type == disk.TypeESP && i.Boot[1].At != (disk.Extent{Offset: p.Start, Size: p.Size}) {
			return fmt.Errorf("the boot catalog's entry for UEFI is not the partition of the GPT: %v", i.Boot[1])
		}
	}
	esp, err := disk.OpenESP(name)
	if err != nil {
		return err
	}
	defer esp.Close() //nolint:errcheck // what was read needs no good end
	_, err = fs.Stat(esp, strings.TrimPrefix(disk.BootPath, "/"))
	return err
}
