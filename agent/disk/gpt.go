package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

// The logical sector sizes that images are made for.
const (
	// SectorSize is that of an image that does not say otherwise.
	SectorSize = 512
	// LargeSector is that of disks without 512-byte emulation.
	LargeSector = 4096
)

// entriesSize is the size of the 128 entries that every tool makes.
const entriesSize = 128 * 128

// GPTSize returns where a primary GPT with 128 entries ends on a disk with
// sectors of that size: the protective MBR, the header and the entries.
func GPTSize(sector int) int64 { return int64(2*sector) + entriesSize }

// Bounds of what a table may hold; UEFI 2.10, section 5.3.2, asks for at
// least 16 KiB of entries, and no tool makes more than 128.
const (
	maxEntries   = 1024
	maxEntrySize = 4096
)

// A Table is the primary GUID partition table of a disk.
type Table struct {
	GUID       string
	Partitions []Partition
}

// A Partition is a used entry of a Table; Start and Size are in bytes.
type Partition struct {
	// Number is the entry's place, from 1.
	Number int
	Label  string
	// Type and GUID are lower-case.
	Type, GUID  string
	Start, Size int64
}

// ReadTable parses the primary GPT at the front of r, a disk with logical
// sectors of that size in bytes, and checks both of its checksums.
func ReadTable(r io.ReaderAt, sector int) (Table, error) {
	t, err := readTable(r, sector)
	if err != nil {
		return Table{}, fmt.Errorf("reading partition table: %w", err)
	}
	return t, nil
}

func readTable(r io.ReaderAt, sector int) (Table, error) {
	t, _, err := readTableAt(r, sector, int64(sector))
	return t, err
}

// rawTable is a table as it is on the disk.
type rawTable struct {
	guid       [16]byte
	entries    []byte
	entrySize  int
	entriesLBA uint64
}

// gptSignature begins a header.
const gptSignature = "EFI PART"

// A noTableError says that a table is missing or damaged, so that the other one of the
// disk may be used.
type noTableError struct{ err error }

func (e *noTableError) Error() string { return e.err.Error() }
func (e *noTableError) Unwrap() error { return e.err }

// readTableAt reads the table whose header is at an offset.
func readTableAt(r io.ReaderAt, sector int, at int64) (Table, rawTable, error) {
	if sector != SectorSize && sector != LargeSector {
		return Table{}, rawTable{}, fmt.Errorf("sectors of %d bytes are not supported, want %d or %d", sector, SectorSize, LargeSector)
	}
	raw, err := readRaw(r, sector, at)
	if err != nil {
		return Table{}, rawTable{}, &noTableError{err}
	}
	t, err := raw.table(sector)
	return t, raw, err
}

func readRaw(r io.ReaderAt, sector int, at int64) (rawTable, error) {
	header := make([]byte, SectorSize)
	if _, err := r.ReadAt(header, at); err != nil {
		return rawTable{}, fmt.Errorf("reading header: %w", err)
	}
	le := binary.LittleEndian
	if !bytes.Equal(header[:8], []byte(gptSignature)) {
		return rawTable{}, errors.New("no GPT header")
	}
	headerSize := le.Uint32(header[12:])
	if headerSize < 92 || headerSize > SectorSize {
		return rawTable{}, fmt.Errorf("header size %d is out of range", headerSize)
	}
	sum := le.Uint32(header[16:])
	clear(header[16:20])
	if got := crc32.ChecksumIEEE(header[:headerSize]); got != sum {
		return rawTable{}, fmt.Errorf("header checksum is %08x, want %08x", got, sum)
	}
	entriesLBA, count, size := le.Uint64(header[72:]), le.Uint32(header[80:]), le.Uint32(header[84:])
	if count > maxEntries || size < 128 || size > maxEntrySize || size%8 != 0 {
		return rawTable{}, fmt.Errorf("%d entries of %d bytes are out of range", count, size)
	}
	if entriesLBA < 2 || entriesLBA > 1<<50 {
		return rawTable{}, fmt.Errorf("entries at sector %d are out of range", entriesLBA)
	}
	entries := make([]byte, count*size)
	if _, err := r.ReadAt(entries, int64(entriesLBA)*int64(sector)); err != nil && count > 0 {
		return rawTable{}, fmt.Errorf("reading entries: %w", err)
	}
	if got, want := crc32.ChecksumIEEE(entries), le.Uint32(header[88:]); got != want {
		return rawTable{}, fmt.Errorf("checksum of entries is %08x, want %08x", got, want)
	}
	raw := rawTable{entries: entries, entrySize: int(size), entriesLBA: entriesLBA}
	copy(raw.guid[:], header[56:72])
	return raw, nil
}

func (raw rawTable) table(sector int) (Table, error) {
	le := binary.LittleEndian
	t := Table{GUID: guid(raw.guid[:])}
	for i := range len(raw.entries) / raw.entrySize {
		entry := raw.entries[i*raw.entrySize:][:128]
		if bytes.Equal(entry[:16], make([]byte, 16)) {
			continue
		}
		first, last := le.Uint64(entry[32:]), le.Uint64(entry[40:])
		if first > last || last > 1<<50 {
			return Table{}, fmt.Errorf("partition %d: sectors %d to %d are out of range", i+1, first, last)
		}
		t.Partitions = append(t.Partitions, Partition{
			Number: i + 1,
			Label:  label(entry[56:128]),
			Type:   guid(entry[:16]),
			GUID:   guid(entry[16:32]),
			Start:  int64(first) * int64(sector),
			Size:   int64(last-first+1) * int64(sector),
		})
	}
	return t, nil
}

// Labelled returns the one partition with a label.
func (t Table) Labelled(label string) (Partition, error) {
	var found []Partition
	for _, p := range t.Partitions {
		if p.Label == label {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		return Partition{}, fmt.Errorf("partition table has %d partitions labelled %q, want 1", len(found), label)
	}
	return found[0], nil
}

// Has reports whether a partition has the GUID, in lower case.
func (t Table) Has(guid string) bool {
	for _, p := range t.Partitions {
		if p.GUID == guid {
			return true
		}
	}
	return false
}

// guid formats the mixed-endian bytes of the disk.
func guid(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}

// label decodes UTF-16LE up to the first zero.
func label(b []byte) string {
	var units []uint16
	for i := 0; i+1 < len(b); i += 2 {
		u := binary.LittleEndian.Uint16(b[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
