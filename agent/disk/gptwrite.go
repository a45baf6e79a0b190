package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

// entrySize and entryCount are what every tool makes, and all that is written here.
const (
	entrySize  = 128
	entryCount = 128
	headerSize = 92
)

// Offsets in a GPT header (UEFI 2.10, table 5.5).
const (
	offsetCRC        = 16
	offsetMine       = 24
	offsetAlternate  = 32
	offsetFirst      = 40
	offsetLast       = 48
	offsetGUID       = 56
	offsetEntries    = 72
	offsetCount      = 80
	offsetEntrySize  = 84
	offsetEntriesCRC = 88
)

// BackupSize is what the backup table takes at the end of a disk: the entries and
// the header.
func BackupSize(sector int) int64 { return entriesSize + int64(sector) }

// An Entry is one of a partition table, as it is on the disk.
type Entry struct {
	Partition
	raw  [entrySize]byte
	disk [16]byte // the GUID of its table
}

// FindEntry returns the one partition with a label, from the primary table of a disk
// of size bytes, or from the backup at its end if there is no primary one.
func FindEntry(r io.ReaderAt, sector int, size int64, label string) (Entry, error) {
	e, err := findEntry(r, sector, int64(sector), label)
	if none := (*noTableError)(nil); errors.As(err, &none) {
		e, err = findEntry(r, sector, size-int64(sector), label)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("reading partition table: %w", err)
	}
	return e, nil
}

func findEntry(r io.ReaderAt, sector int, at int64, label string) (Entry, error) {
	t, raw, err := readTableAt(r, sector, at)
	if err != nil {
		return Entry{}, err
	}
	p, err := t.Labelled(label)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Partition: p, disk: raw.guid}
	copy(e.raw[:], raw.entries[(p.Number-1)*raw.entrySize:])
	return e, nil
}

// NewEntry is one of a partition that is made, a Linux file system. The seed makes its
// GUID another one on each disk.
func NewEntry(number int, label string, start, size int64, sector int, seed []byte) (Entry, error) {
	units := utf16.Encode([]rune(label))
	if len(units) > 36 || size < int64(sector) || start%int64(sector) != 0 || size%int64(sector) != 0 {
		return Entry{}, fmt.Errorf("a partition %q of %d bytes at %d is not possible", label, size, start)
	}
	le := binary.LittleEndian
	e := Entry{Partition: Partition{Number: number, Label: label, Type: linuxData, Start: start, Size: size}}
	copy(e.raw[:], linuxDataRaw)
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %x", label, number, seed))
	// As of a random UUID, RFC 9562, section 5.4.
	sum[7] = sum[7]&0x0f | 0x40
	sum[8] = sum[8]&0x3f | 0x80
	copy(e.raw[16:32], sum[:])
	e.GUID = guid(e.raw[16:32])
	le.PutUint64(e.raw[32:], uint64(start/int64(sector)))
	le.PutUint64(e.raw[40:], uint64((start+size)/int64(sector)-1))
	for i, u := range units {
		le.PutUint16(e.raw[56+2*i:], u)
	}
	return e, nil
}

// The type of a partition with a Linux file system, as text and as on the disk.
const (
	linuxData    = "0fc63daf-8483-4772-8e79-3d69d8477de4"
	linuxDataRaw = "\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4"
)

// Seed is what distinguishes the entry's disk from all others.
func (e Entry) Seed() []byte { return e.raw[16:32] }

// Backup returns a table with nothing but the entry, for the last BackupSize bytes of a
// disk of size bytes. It keeps the place of a partition while the disk has no primary
// table.
func (e Entry) Backup(sector int, size int64) []byte {
	le := binary.LittleEndian
	header := make([]byte, headerSize)
	copy(header, gptSignature)
	le.PutUint32(header[8:], 0x10000)
	le.PutUint32(header[12:], headerSize)
	le.PutUint64(header[offsetFirst:], uint64(GPTSize(sector)/int64(sector)))
	copy(header[offsetGUID:], e.disk[:])
	le.PutUint32(header[offsetCount:], entryCount)
	le.PutUint32(header[offsetEntrySize:], entrySize)
	entries := make([]byte, entriesSize)
	copy(entries[(e.Number-1)*entrySize:], e.raw[:])
	return backup(header, entries, sector, size)
}

// Fit makes the primary table in head, the beginning of an image, that of a disk of
// size bytes, with more entries besides its own; then it returns the backup table, for
// the last BackupSize bytes of the disk.
func Fit(head []byte, sector int, size int64, more ...Entry) ([]byte, error) {
	t, raw, err := readTableAt(bytes.NewReader(head), sector, int64(sector))
	if err != nil {
		return nil, fmt.Errorf("reading partition table: %w", err)
	}
	if raw.entrySize != entrySize || len(raw.entries) != entriesSize || raw.entriesLBA != 2 || int64(len(head)) < GPTSize(sector) {
		return nil, fmt.Errorf("the partition table has not %d entries of %d bytes behind its header", entryCount, entrySize)
	}
	entries := head[2*sector:][:entriesSize]
	for _, e := range more {
		if err := e.fits(t, sector, size); err != nil {
			return nil, fmt.Errorf("adding partition %q: %w", e.Label, err)
		}
		t.Partitions = append(t.Partitions, e.Partition)
		copy(entries[(e.Number-1)*entrySize:], e.raw[:])
	}
	le := binary.LittleEndian
	sectors := size / int64(sector)
	header := head[sector:][:headerSize]
	le.PutUint64(header[offsetAlternate:], uint64(sectors-1))
	le.PutUint64(header[offsetLast:], lastUsable(sector, size))
	sign(header, entries)
	// The protective MBR covers the disk (UEFI 2.10, table 5.4).
	le.PutUint32(head[446+12:], uint32(min(sectors-1, 0xffffffff)))
	return backup(bytes.Clone(header), entries, sector, size), nil
}

// fits says why the entry cannot be in a table beside others.
func (e Entry) fits(t Table, sector int, size int64) error {
	if e.Number < 1 || e.Number > entryCount {
		return fmt.Errorf("there is no place for number %d", e.Number)
	}
	if e.Start < GPTSize(sector) || e.Size > size-BackupSize(sector)-e.Start {
		return errors.New("it is not within the disk")
	}
	for _, p := range t.Partitions {
		if p.Number == e.Number {
			return fmt.Errorf("there is a partition %d already, %q", p.Number, p.Label)
		}
		if p.Start < e.Start+e.Size && e.Start < p.Start+p.Size {
			return fmt.Errorf("the partition %q would overwrite it", p.Label)
		}
	}
	return nil
}

func lastUsable(sector int, size int64) uint64 {
	return uint64((size-BackupSize(sector))/int64(sector) - 1)
}

// backup makes the table at the end of a disk out of the header of the primary one.
func backup(header, entries []byte, sector int, size int64) []byte {
	le := binary.LittleEndian
	b := make([]byte, BackupSize(sector))
	copy(b, entries)
	own := b[entriesSize:]
	copy(own, header[:headerSize])
	le.PutUint64(own[offsetMine:], uint64(size/int64(sector)-1))
	le.PutUint64(own[offsetAlternate:], 1)
	le.PutUint64(own[offsetLast:], lastUsable(sector, size))
	le.PutUint64(own[offsetEntries:], uint64((size-BackupSize(sector))/int64(sector)))
	sign(own[:headerSize], entries)
	return b
}

// sign sets both checksums.
func sign(header, entries []byte) {
	le := binary.LittleEndian
	le.PutUint32(header[12:], headerSize)
	le.PutUint32(header[offsetEntriesCRC:], crc32.ChecksumIEEE(entries))
	clear(header[offsetCRC:][:4])
	le.PutUint32(header[offsetCRC:], crc32.ChecksumIEEE(header))
}
