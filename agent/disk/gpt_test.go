package disk_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/agent/disk/disktest"
)

const mib = 1 << 20

func gpt() []byte {
	return disktest.GPT(
		disktest.Partition{Label: "esp", GUID: [16]byte{0xff}, Start: mib, Size: mib},
		disktest.Partition{
			Label: "k8snode-root", Start: 2 * mib, Size: 3 * mib,
			GUID: [16]byte{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
		},
	)
}

func TestReadTable(t *testing.T) {
	got, err := disk.ReadTable(bytes.NewReader(gpt()), disk.SectorSize)
	if err != nil {
		t.Fatal(err)
	}
	const kind = "000000af-0000-0000-0000-000000000000"
	want := disk.Table{
		GUID: "00000000-0000-0000-0000-000000000000",
		Partitions: []disk.Partition{
			{Number: 1, Label: "esp", Type: kind, GUID: "000000ff-0000-0000-0000-000000000000", Start: mib, Size: mib},
			{Number: 2, Label: "k8snode-root", Type: kind, GUID: "00112233-4455-6677-8899-aabbccddeeff", Start: 2 * mib, Size: 3 * mib},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !got.Has("00112233-4455-6677-8899-aabbccddeeff") || got.Has("00112233-4455-6677-8899-aabbccddee00") {
		t.Error("Has finds the wrong partitions")
	}
	if p, err := got.Labelled("k8snode-root"); err != nil || p.Number != 2 {
		t.Errorf("got %v, %v", p, err)
	}
	if _, err := got.Labelled("x"); err == nil || err.Error() != `partition table has 0 partitions labelled "x", want 1` {
		t.Errorf("got %v", err)
	}
}

func TestReadTableLargeSectors(t *testing.T) {
	large := disktest.GPTOf(disk.LargeSector, [16]byte{3: 0x49}, disktest.Partition{Label: "esp", GUID: [16]byte{1}, Start: 2 * mib, Size: mib})
	got, err := disk.ReadTable(bytes.NewReader(large), disk.LargeSector)
	if err != nil {
		t.Fatal(err)
	}
	want := disk.Table{
		GUID: "49000000-0000-0000-0000-000000000000",
		Partitions: []disk.Partition{{
			Number: 1, Label: "esp", Type: "000000af-0000-0000-0000-000000000000",
			GUID: "00000001-0000-0000-0000-000000000000", Start: 2 * mib, Size: mib,
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct {
		data   []byte
		sector int
		want   string
	}{
		{large, disk.SectorSize, "reading partition table: no GPT header"},
		{gpt(), disk.LargeSector, "reading partition table: no GPT header"},
		{gpt(), 520, "reading partition table: sectors of 520 bytes are not supported, want 512 or 4096"},
	} {
		if _, err := disk.ReadTable(bytes.NewReader(tt.data), tt.sector); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

// reseal makes the header's checksum right again after a change.
func reseal(b []byte) []byte {
	h := b[disk.SectorSize:]
	clear(h[16:20])
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
	return b
}

func TestReadTableErrors(t *testing.T) {
	const h = disk.SectorSize
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		want   string
	}{
		{"empty", func([]byte) []byte { return nil }, "reading partition table: reading header: EOF"},
		{"zeros", func(b []byte) []byte { clear(b); return b }, "reading partition table: no GPT header"},
		{"header bit", func(b []byte) []byte { b[h+24] ^= 1; return b }, "reading partition table: header checksum is "},
		{"header size", func(b []byte) []byte { b[h+13] = 9; return b }, "reading partition table: header size 2396 is out of range"},
		{"entry bit", func(b []byte) []byte { b[3*h] ^= 1; return b }, "reading partition table: checksum of entries is "},
		{"cut", func(b []byte) []byte { return b[:5000] }, "reading partition table: reading entries: EOF"},
		{"many entries", func(b []byte) []byte { b[h+82] = 1; return reseal(b) }, "reading partition table: 65664 entries of 128 bytes are out of range"},
		{"entry size", func(b []byte) []byte { b[h+84] = 64; return reseal(b) }, "reading partition table: 128 entries of 64 bytes are out of range"},
		{"far entries", func(b []byte) []byte { b[h+79] = 0x80; return reseal(b) }, "reading partition table: entries at sector 9223372036854775810 are out of range"},
		{"backwards", func([]byte) []byte {
			return disktest.GPT(disktest.Partition{Start: mib, Size: -mib})
		}, "reading partition table: partition 1: sectors 2048 to 18446744073709551615 are out of range"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := disk.ReadTable(bytes.NewReader(tt.change(gpt())), disk.SectorSize)
			if err == nil || len(err.Error()) < len(tt.want) || err.Error()[:len(tt.want)] != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func FuzzReadTable(f *testing.F) {
	f.Add(gpt())
	f.Add(gpt()[:1024])
	f.Fuzz(func(t *testing.T, data []byte) {
		// The checksum hides what is behind it from a fuzzer.
		if len(data) >= 2*disk.SectorSize {
			reseal(data)
		}
		table, err := disk.ReadTable(bytes.NewReader(data), disk.SectorSize)
		if err != nil && len(table.Partitions) > 0 {
			t.Error("an error came with partitions")
		}
		for _, p := range table.Partitions {
			if p.Start < 0 || p.Size <= 0 || p.Number < 1 {
				t.Errorf("partition %+v is out of range", p)
			}
		}
	})
}

func TestOpenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, 3*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := disk.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Zero(context.Background(), 512, 2*mib); err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := d.DropCaches(); err != nil {
		t.Fatal(err)
	}
	if err := d.RereadTable(); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{1}, 3*mib)
	clear(want[512 : 512+2*mib])
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("Zero did not clear exactly its range")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Zero(ctx, 0, 512); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v from a cancelled Zero", err)
	}
	if _, err := disk.Open(path + "x"); err == nil {
		t.Error("a missing disk was opened")
	}
}
