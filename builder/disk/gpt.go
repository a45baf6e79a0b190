package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"unicode/utf16"

	"github.com/k8snode/k8snode/images"
)

// Sizes from the UEFI specification 2.10, section 5.3. No tool makes more
// entries than these, and none of another size.
const (
	gptHeaderSize  = 92
	gptEntrySize   = 128
	gptMaxEntries  = 1024
	mbrTable       = 446
	mbrEntry       = 16
	mbrTypeGPT     = 0xee
	gptFirstSector = 1
)

// gptHeader is a header of a GUID partition table with its entries. It is read
// by the specification and not with go-diskfs, which made it.
type gptHeader struct {
	self, other, first, last, entriesAt uint64
	guid                                string
	entries                             []byte
}

func readGPTHeader(r io.ReaderAt, lba uint64, sector int64) (gptHeader, error) {
	b := make([]byte, sector)
	if _, err := r.ReadAt(b, int64(lba)*sector); err != nil {
		return gptHeader{}, fmt.Errorf("reading sector %d: %w", lba, err)
	}
	le := binary.LittleEndian
	size := le.Uint32(b[12:])
	if string(b[:8]) != "EFI PART" || size < gptHeaderSize || int64(size) > sector {
		return gptHeader{}, fmt.Errorf("sector %d is no header", lba)
	}
	sum := le.Uint32(b[16:])
	clear(b[16:20])
	if got := crc32.ChecksumIEEE(b[:size]); got != sum {
		return gptHeader{}, fmt.Errorf("its checksum is %08x and should be %08x", sum, got)
	}
	h := gptHeader{
		self: le.Uint64(b[24:]), other: le.Uint64(b[32:]), first: le.Uint64(b[40:]), last: le.Uint64(b[48:]),
		guid: guid(b[56:]), entriesAt: le.Uint64(b[72:]),
	}
	count, entry := le.Uint32(b[80:]), le.Uint32(b[84:])
	if count > gptMaxEntries || entry != gptEntrySize || h.entriesAt > 1<<48 || h.last > 1<<48 {
		return gptHeader{}, fmt.Errorf("%d entries of %d bytes at sector %d are out of range", count, entry, h.entriesAt)
	}
	h.entries = make([]byte, count*entry)
	if _, err := r.ReadAt(h.entries, int64(h.entriesAt)*sector); err != nil {
		return gptHeader{}, fmt.Errorf("reading the entries: %w", err)
	}
	if got, want := crc32.ChecksumIEEE(h.entries), le.Uint32(b[88:]); got != want {
		return gptHeader{}, fmt.Errorf("the checksum of the entries is %08x and should be %08x", want, got)
	}
	if h.self != lba {
		return gptHeader{}, fmt.Errorf("it says that it is at sector %d and is at %d", h.self, lba)
	}
	return h, nil
}

// partitions returns the used entries.
func (h gptHeader) partitions(sector int64) []images.Partition {
	var all []images.Partition
	for b := h.entries; len(b) >= gptEntrySize; b = b[gptEntrySize:] {
		if bytes.Equal(b[:16], make([]byte, 16)) {
			continue
		}
		first, last := binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])
		all = append(all, images.Partition{
			Label: gptName(b[56:gptEntrySize]), Type: guid(b), GUID: guid(b[16:]),
			Start: int64(first) * sector, Size: int64(last-first+1) * sector,
		})
	}
	return all
}

// Read returns the partition table of a raw image, from its primary header.
func Read(name string) (images.DiskInfo, error) {
	f, size, err := open(name)
	if err != nil {
		return images.DiskInfo{}, err
	}
	defer f.Close()
	sector, err := sectorSize(f)
	if err != nil {
		return images.DiskInfo{}, fmt.Errorf("reading the partition table: %w", err)
	}
	h, err := readGPTHeader(f, gptFirstSector, sector)
	if err != nil {
		return images.DiskInfo{}, fmt.Errorf("reading the partition table: %w", err)
	}
	return images.DiskInfo{Size: size, SectorSize: int(sector), GUID: h.guid, Partitions: h.partitions(sector)}, nil
}

// Check reads both tables of a raw image, the primary one and its backup at
// the very end, and compares them: checksums, places, entries, bounds. It
// returns every problem.
func Check(name string) error {
	f, size, err := open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	sector, err := sectorSize(f)
	if err != nil {
		return fmt.Errorf("checking the partition table: %w", err)
	}
	problems := []error{checkMBR(f)}
	primary, err := readGPTHeader(f, gptFirstSector, sector)
	if err != nil {
		problems = append(problems, fmt.Errorf("primary header: %w", err))
	}
	lastSector := uint64(size/sector) - 1
	backup, err := readGPTHeader(f, lastSector, sector)
	if err != nil {
		problems = append(problems, fmt.Errorf("backup header: %w", err))
	}
	if errors.Join(problems...) == nil {
		problems = append(problems, compareGPT(primary, backup, sector)...)
	}
	if size%sector != 0 {
		problems = append(problems, fmt.Errorf("the size %d is not a multiple of %d", size, sector))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("checking the partition table: %w", err)
	}
	return nil
}

func compareGPT(primary, backup gptHeader, sector int64) []error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if primary.other != backup.self || backup.other != primary.self {
		problem("the headers at sectors %d and %d name %d and %d as each other's place", primary.self, backup.self, primary.other, backup.other)
	}
	if primary.guid != backup.guid || primary.first != backup.first || primary.last != backup.last {
		problem("the headers differ")
	}
	if !bytes.Equal(primary.entries, backup.entries) {
		problem("the entries of the headers differ")
	}
	tables := uint64((int64(len(primary.entries)) + sector - 1) / sector)
	if primary.entriesAt+tables > primary.first || backup.entriesAt <= primary.last || backup.entriesAt+tables > backup.self {
		problem("the entries overlap the usable sectors %d to %d", primary.first, primary.last)
	}
	all := primary.partitions(sector)
	low, high := int64(primary.first)*sector, int64(primary.last+1)*sector
	for i, p := range all {
		if p.Size <= 0 || p.Start < low || p.Start+p.Size > high {
			problem("partition %s is out of bounds", p.Label)
		}
		for _, q := range all[:i] {
			if p.Start < q.Start+q.Size && q.Start < p.Start+p.Size {
				problem("partitions %s and %s overlap", q.Label, p.Label)
			}
			if p.GUID == q.GUID {
				problem("partitions %s and %s have one GUID", q.Label, p.Label)
			}
		}
	}
	return problems
}

// checkMBR looks for the protective partition table, without which tools take
// the disk for an empty one. A hybrid ISO has an empty bootable entry beside.
func checkMBR(r io.ReaderAt) error {
	b := make([]byte, 512)
	if _, err := r.ReadAt(b, 0); err != nil {
		return fmt.Errorf("reading the first sector: %w", err)
	}
	if b[510] != 0x55 || b[511] != 0xaa {
		return errors.New("the first sector has no signature")
	}
	for e := b[mbrTable:510]; len(e) >= mbrEntry; e = e[mbrEntry:] {
		if e[4] == mbrTypeGPT && binary.LittleEndian.Uint32(e[8:]) == gptFirstSector {
			return nil
		}
	}
	return errors.New("the first sector has no protective partition")
}

// sectorSize finds the primary header, which is in the second sector.
func sectorSize(r io.ReaderAt) (int64, error) {
	magic := make([]byte, 8)
	for _, size := range []int64{512, 4096} {
		if _, err := r.ReadAt(magic, size); err == nil && string(magic) == "EFI PART" {
			return size, nil
		}
	}
	return 0, errors.New("there is no primary GPT header")
}

func open(name string) (*os.File, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("opening the disk image: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("opening the disk image: %w", err)
	}
	return f, st.Size(), nil
}

// guid formats the mixed-endian bytes of a GUID as GPT tools do.
func guid(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08X-%04X-%04X-%X-%X", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}

// gptName decodes UTF-16 up to the first zero.
func gptName(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
