// Package disktest makes disks for tests: GUID partition tables and a machine
// whose disks are regular files below a temporary root.
package disktest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"unicode/utf16"

	"github.com/k8snode/k8snode/agent/disk"
)

// A Partition is an entry for GPT; Start and Size are in bytes.
type Partition struct {
	Label       string
	GUID        [16]byte // as on the disk
	Start, Size int64
}

// GPT returns the first 17408 bytes of a disk with sectors of 512 bytes: a
// protective MBR, a GPT header and 128 entries.
func GPT(partitions ...Partition) []byte { return GPTOf(disk.SectorSize, [16]byte{}, partitions...) }

// GPTOf is GPT for any sector size and GUID of the table.
func GPTOf(sector int, guid [16]byte, partitions ...Partition) []byte {
	le := binary.LittleEndian
	b := make([]byte, disk.GPTSize(sector))
	b[446+4] = 0xee // a protective partition, from sector 1
	le.PutUint32(b[446+8:], 1)
	le.PutUint32(b[446+12:], 0xffffffff)
	b[510], b[511] = 0x55, 0xaa
	entries := b[2*sector:]
	for i, p := range partitions {
		e := entries[i*128:]
		e[0] = 0xaf // any type that is not "unused"
		copy(e[16:], p.GUID[:])
		le.PutUint64(e[32:], uint64(p.Start/int64(sector)))
		le.PutUint64(e[40:], uint64((p.Start+p.Size)/int64(sector)-1))
		for j, u := range utf16.Encode([]rune(p.Label)) {
			le.PutUint16(e[56+2*j:], u)
		}
	}
	h := b[sector:]
	copy(h, "EFI PART")
	le.PutUint32(h[8:], 0x10000)
	le.PutUint32(h[12:], 92)
	le.PutUint64(h[24:], 1)
	le.PutUint64(h[40:], uint64(disk.GPTSize(sector))/uint64(sector))
	copy(h[56:], guid[:])
	le.PutUint64(h[72:], 2)
	le.PutUint32(h[80:], 128)
	le.PutUint32(h[84:], 128)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(entries[:128*128]))
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
	return b
}

// A Disk is a disk for Machine.
type Disk struct {
	Name, Serial string
	Size         int64
	// Attributes are further files of sysfs, "removable" or "device/wwid".
	Attributes map[string]string
	// Links are paths such as /dev/disk/by-id/x.
	Links []string
}

// Machine returns a temporary root whose sysfs lists disks and whose /dev has
// a file for each, filled with 0xa5 as the leftovers of an earlier life.
func Machine(t testing.TB, disks ...Disk) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "sys/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range disks {
		attributes := map[string]string{
			"size": strconv.FormatInt(d.Size/512, 10), "removable": "0", "ro": "0",
			"queue/logical_block_size": "512",
		}
		if d.Serial != "" {
			attributes["serial"] = d.Serial
		}
		for k, v := range d.Attributes {
			attributes[k] = v
		}
		for name, value := range attributes {
			write(t, filepath.Join(root, "sys/block", d.Name, name), []byte(value+"\n"))
		}
		write(t, filepath.Join(root, "dev", d.Name), bytes.Repeat([]byte{0xa5}, int(d.Size)))
		for _, link := range d.Links {
			path := filepath.Join(root, link)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(fmt.Sprintf("../../%s", d.Name), path); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
