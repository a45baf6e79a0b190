package disk_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/agent/disk/disktest"
)

const oldSize = 64 * mib

// oldDisk is one with a system and data, as it was before the next install.
func oldDisk(sector int) []byte {
	d := make([]byte, oldSize)
	copy(d, disktest.GPTOf(sector, [16]byte{7},
		disktest.Partition{Label: "root", GUID: [16]byte{1}, Start: mib, Size: 16 * mib},
		disktest.Partition{Label: "state", GUID: [16]byte{2}, Start: 17 * mib, Size: 8 * mib},
		disktest.Partition{Label: "data", GUID: [16]byte{3}, Start: 25 * mib, Size: 8 * mib},
	))
	return d
}

func image(sector int) []byte {
	return disktest.GPTOf(sector, [16]byte{9},
		disktest.Partition{Label: "root", GUID: [16]byte{4}, Start: mib, Size: 20 * mib},
	)
}

// TestFit installs an image on a disk of which a partition stays, and asks sgdisk what
// it thinks of both tables.
func TestFit(t *testing.T) {
	for _, sector := range []int{disk.SectorSize, disk.LargeSector} {
		d := oldDisk(sector)
		kept, err := disk.FindEntry(bytes.NewReader(d), sector, oldSize, "data")
		if err != nil {
			t.Fatal(err)
		}
		// The power fails in the middle of an install: the place is not lost.
		copy(d[oldSize-disk.BackupSize(sector):], kept.Backup(sector, oldSize))
		clear(d[:mib])
		again, err := disk.FindEntry(bytes.NewReader(d), sector, oldSize, "data")
		if err != nil {
			t.Fatal(err)
		}
		if again.Start != 25*mib || again.Size != 8*mib || again.Number != 3 || again.GUID != kept.GUID {
			t.Errorf("sectors of %d: found %+v, want %+v", sector, again.Partition, kept.Partition)
		}
		head := image(sector)
		more, err := disk.NewEntry(5, "more", 40*mib, 4*mib, sector, again.Seed())
		if err != nil {
			t.Fatal(err)
		}
		end, err := disk.Fit(head, sector, oldSize, again, more)
		if err != nil {
			t.Fatal(err)
		}
		copy(d, head)
		copy(d[oldSize-disk.BackupSize(sector):], end)
		table, err := disk.ReadTable(bytes.NewReader(d), sector)
		if err != nil {
			t.Fatal(err)
		}
		var labels []string
		for _, p := range table.Partitions {
			labels = append(labels, p.Label)
		}
		if got := strings.Join(labels, " "); got != "root data more" || table.GUID[:2] != "09" && !strings.HasPrefix(table.GUID, "00000009") {
			t.Errorf("sectors of %d: the table %s has %s", sector, table.GUID, got)
		}
		if sector == disk.SectorSize {
			verifyTable(t, d)
		}
	}
}

// verifyTable asks sgdisk, which looks at the two tables and at how they agree.
func verifyTable(t *testing.T, d []byte) {
	t.Helper()
	if _, err := exec.LookPath("sgdisk"); err != nil {
		t.Skip("sgdisk is not installed")
	}
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, d, 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), "sgdisk", "--verify", path).CombinedOutput()
	if err != nil || !strings.Contains(string(said), "No problems found") {
		t.Errorf("sgdisk: %v\n%s", err, said)
	}
}

func TestFitErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		label string
		image []disktest.Partition
		size  int64
		want  string
	}{
		"no such partition": {label: "etcd", want: `reading partition table: partition table has 0 partitions labelled "etcd", want 1`},
		"overwritten": {
			label: "data", size: oldSize, image: []disktest.Partition{{Label: "root", Start: mib, Size: 25 * mib}},
			want: `adding partition "data": the partition "root" would overwrite it`,
		},
		"same number": {
			label: "data", size: oldSize,
			image: []disktest.Partition{{Label: "esp", Start: mib, Size: mib}, {Label: "root", Start: 2 * mib, Size: mib}, {Label: "verity", Start: 3 * mib, Size: mib}},
			want:  `adding partition "data": there is a partition 3 already, "verity"`,
		},
		"behind the disk": {
			label: "data", size: 30 * mib, image: []disktest.Partition{{Label: "root", Start: mib, Size: mib}},
			want: `adding partition "data": it is not within the disk`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			kept, err := disk.FindEntry(bytes.NewReader(oldDisk(disk.SectorSize)), disk.SectorSize, oldSize, tt.label)
			if err == nil {
				_, err = disk.Fit(disktest.GPT(tt.image...), disk.SectorSize, tt.size, kept)
			}
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
