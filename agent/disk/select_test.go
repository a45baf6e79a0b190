package disk_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/agent/disk/disktest"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/provision/api"
)

const gib = 1 << 30

func sda() disk.Disk {
	return disk.Disk{
		Name: "sda", Path: "/dev/sda", Links: []string{"/dev/disk/by-id/ata-A"},
		Serial: "S1", WWN: "naa.5000C500A1", Rotational: true, Size: 20 * gib, LogicalSector: 512,
	}
}

func sdb() disk.Disk {
	return disk.Disk{Name: "sdb", Path: "/dev/sdb", Serial: "S2", Size: 10 * gib, LogicalSector: 512}
}

func sdc() disk.Disk {
	return disk.Disk{Name: "sdc", Path: "/dev/sdc", Model: "SSD 870", Size: 10 * gib, LogicalSector: 512}
}

func ptr(b bool) *bool { return &b }

func TestStableLinks(t *testing.T) {
	for want, d := range map[string]disk.Disk{
		"k8snode/serial/S1 k8snode/wwn/5000c500a1": sda(),
		"k8snode/serial/S2":                        sdb(),
		"":                                         {Serial: "with blanks", WWN: "t10.ATA     DISK"},
		"k8snode/wwn/0025385b71b0d6a2":             {WWN: "eui.0025385b71b0d6a2"},
	} {
		if got := strings.Join(disk.StableLinks(d), " "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// A document may have either form of a name.
	if a, b := node.WWNLink("0x5000C500A1"), node.WWNLink("naa.5000c500a1"); a != b || a != "/dev/k8snode/wwn/5000c500a1" {
		t.Errorf("got %s and %s", a, b)
	}
}

func TestSelect(t *testing.T) {
	for _, tt := range []struct {
		name    string
		disks   []disk.Disk
		want    api.DiskSelection
		path    string
		wantErr string
		is      error
	}{
		{name: "only one", disks: []disk.Disk{sda()}, path: "/dev/sda"},
		{name: "path", disks: []disk.Disk{sda(), sdb()}, want: api.DiskSelection{Device: "/dev/sdb"}, path: "/dev/sdb"},
		{name: "link", disks: []disk.Disk{sda(), sdb()}, want: api.DiskSelection{Device: "/dev/disk/by-id/ata-A"}, path: "/dev/sda"},
		{name: "serial", disks: []disk.Disk{sda(), sdb()}, want: api.DiskSelection{Serial: "S2"}, path: "/dev/sdb"},
		{name: "wwn of lsblk", disks: []disk.Disk{sda(), sdb()}, want: api.DiskSelection{WWN: "0x5000c500a1"}, path: "/dev/sda"},
		{name: "least size", disks: []disk.Disk{sda(), sdb()}, want: api.DiskSelection{MinSizeGiB: 11}, path: "/dev/sda"},
		{name: "largest size", disks: []disk.Disk{sda(), sdb()}, want: api.DiskSelection{MaxSizeGiB: 19}, path: "/dev/sdb"},
		{name: "model", disks: []disk.Disk{sda(), sdc()}, want: api.DiskSelection{Model: "SSD 870"}, path: "/dev/sdc"},
		{name: "one that turns", disks: []disk.Disk{sda(), sdc()}, want: api.DiskSelection{Rotational: ptr(true)}, path: "/dev/sda"},
		{name: "one that does not", disks: []disk.Disk{sda(), sdc()}, want: api.DiskSelection{Rotational: ptr(false)}, path: "/dev/sdc"},
		{
			name: "by kind, none", disks: []disk.Disk{sda(), sdc()}, is: disk.ErrNoMatch,
			want: api.DiskSelection{Model: "HDD", Rotational: ptr(true), MaxSizeGiB: 5},
			wantErr: "no disk matches (model \"HDD\", rotates, at most 5 GiB):\n" +
				"  /dev/sda 20.0 GiB serial=\"S1\" wwn=\"naa.5000C500A1\" rotational: model is not \"HDD\"\n" +
				"  /dev/sdc 10.0 GiB model=\"SSD 870\": model is not \"HDD\"",
		},
		{
			name: "by rotation and size, none", disks: []disk.Disk{sda(), sdc()}, is: disk.ErrNoMatch, want: api.DiskSelection{Rotational: ptr(false), MaxSizeGiB: 5},
			wantErr: "no disk matches (does not rotate, at most 5 GiB):\n" +
				"  /dev/sda 20.0 GiB serial=\"S1\" wwn=\"naa.5000C500A1\" rotational: rotates\n" +
				"  /dev/sdc 10.0 GiB model=\"SSD 870\": is larger than 5 GiB",
		},
		{
			name: "two match", disks: []disk.Disk{sda(), sdb()}, is: disk.ErrManyMatches,
			wantErr: "several disks match (the selection is empty: any disk):\n" +
				"  /dev/sda 20.0 GiB serial=\"S1\" wwn=\"naa.5000C500A1\" rotational: matches\n" +
				"  /dev/sdb 10.0 GiB serial=\"S2\": matches",
		},
		{
			name: "none matches", disks: []disk.Disk{sda(), sdb()}, is: disk.ErrNoMatch,
			want: api.DiskSelection{Serial: "S1", MinSizeGiB: 21},
			wantErr: "no disk matches (serial \"S1\", at least 21 GiB):\n" +
				"  /dev/sda 20.0 GiB serial=\"S1\" wwn=\"naa.5000C500A1\" rotational: is smaller than 21 GiB\n" +
				"  /dev/sdb 10.0 GiB serial=\"S2\": serial is not \"S1\"",
		},
		{
			name: "no disk", is: disk.ErrNoMatch, want: api.DiskSelection{Device: "/dev/sda", WWN: "x"},
			wantErr: "no disk matches (device \"/dev/sda\", wwn \"x\"):\n  (the machine has no block device)",
		},
		{
			name: "never taken, even by name", is: disk.ErrNoMatch,
			want: api.DiskSelection{Device: "/dev/sdc"},
			disks: []disk.Disk{
				{Name: "sdc", Path: "/dev/sdc", Size: gib, Removable: true},
				{Name: "sdd", Path: "/dev/sdd", Size: gib, ReadOnly: true},
				{Name: "sde", Path: "/dev/sde"},
				{Name: "loop0", Path: "/dev/loop0", Size: gib},
				{Name: "ram0", Path: "/dev/ram0", Size: gib},
				{Name: "zram0", Path: "/dev/zram0", Size: gib},
				{Name: "sr0", Path: "/dev/sr0", Size: gib},
				{Name: "fd0", Path: "/dev/fd0", Size: gib},
				{Name: "dm-3", Path: "/dev/dm-3", Size: gib},
				{Name: "md127", Path: "/dev/md127", Size: gib},
				{Name: "mmcblk0boot1", Path: "/dev/mmcblk0boot1", Size: gib},
				{Name: "nvme0c0n1", Path: "/dev/nvme0c0n1", Size: gib, Hidden: true},
				{Name: "nvme0n1", Path: "/dev/nvme0n1", Size: gib},
			},
			wantErr: "no disk matches (device \"/dev/sdc\"):\n" +
				"  /dev/sdc 1.0 GiB: is removable\n" +
				"  /dev/sdd 1.0 GiB: is read-only\n" +
				"  /dev/sde 0.0 GiB: has no medium\n" +
				"  /dev/loop0 1.0 GiB: is a loop device\n" +
				"  /dev/ram0 1.0 GiB: is a RAM disk\n" +
				"  /dev/zram0 1.0 GiB: is compressed RAM\n" +
				"  /dev/sr0 1.0 GiB: is an optical drive\n" +
				"  /dev/fd0 1.0 GiB: is a floppy\n" +
				"  /dev/dm-3 1.0 GiB: is a device mapper target\n" +
				"  /dev/md127 1.0 GiB: is a RAID array\n" +
				"  /dev/mmcblk0boot1 1.0 GiB: is a boot area of a flash chip\n" +
				"  /dev/nvme0c0n1 1.0 GiB: is a path of a multipath device\n" +
				"  /dev/nvme0n1 1.0 GiB: is not device /dev/sdc",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := disk.Select(tt.disks, tt.want)
			if tt.wantErr == "" {
				if err != nil || got.Path != tt.path {
					t.Fatalf("got %q, %v; want %q", got.Path, err, tt.path)
				}
				return
			}
			if err == nil || err.Error() != tt.wantErr || !errors.Is(err, tt.is) {
				t.Fatalf("got error\n%v\nwant\n%s", err, tt.wantErr)
			}
		})
	}
}

func TestList(t *testing.T) {
	root := disktest.Machine(t,
		disktest.Disk{Name: "sdb", Size: 4096, Attributes: map[string]string{
			"device/vpd_pg80": "\x00\x80\x00\x08  WD-1   ", "device/wwid": "naa.5000c500a1", "device/model": "DISK 1   ",
			"queue/logical_block_size": "4096",
		}},
		disktest.Disk{Name: "nvme0n1", Serial: "N1", Size: 1024, Links: []string{"/dev/disk/by-id/nvme-N1", "/dev/disk/by-path/p"}},
		disktest.Disk{Name: "vda", Attributes: map[string]string{"removable": "1", "ro": "1", "hidden": "1", "size": "x"}},
	)
	got, err := disk.List(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []disk.Disk{
		{
			Name: "nvme0n1", Path: "/dev/nvme0n1", Serial: "N1", Size: 1024, LogicalSector: 512,
			Links: []string{"/dev/disk/by-id/nvme-N1", "/dev/disk/by-path/p"},
		},
		{
			Name: "sdb", Path: "/dev/sdb", Serial: "WD-1", WWN: "naa.5000c500a1", Model: "DISK 1",
			Size: 4096, LogicalSector: 4096,
		},
		{Name: "vda", Path: "/dev/vda", LogicalSector: 512, Removable: true, ReadOnly: true, Hidden: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := disk.List(t.TempDir()); err == nil {
		t.Error("a machine without sysfs has a list of disks")
	}
}
