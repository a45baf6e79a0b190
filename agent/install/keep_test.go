package install_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/agent/disk/disktest"
	"github.com/k8snode/k8snode/agent/install"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
)

const (
	keptAt   = 9 * mib
	keptSize = mib
)

// keeping makes the disk one with data that the plan keeps.
func (l *lab) keeping() []disk.Entry {
	l.t.Helper()
	old := bytes.Repeat([]byte{0xa5}, diskSize)
	copy(old, disktest.GPTOf(l.sector, [16]byte{7},
		disktest.Partition{Label: "system", GUID: [16]byte{1}, Start: mib, Size: 7 * mib},
		disktest.Partition{Label: images.LabelEtcd, GUID: [16]byte{2}, Start: keptAt, Size: keptSize},
	))
	if err := os.WriteFile(filepath.Join(l.root, "dev/sda"), old, 0o600); err != nil {
		l.t.Fatal(err)
	}
	kept, err := disk.FindEntry(bytes.NewReader(old), l.sector, diskSize, images.LabelEtcd)
	if err != nil {
		l.t.Fatal(err)
	}
	l.plan.Keep = &api.KeepPartition{
		Label: images.LabelEtcd, SizeMiB: keptSize / mib, Others: []api.NewPartition{{Number: 5, Label: "state", SizeMiB: 1}, {Number: 7, Label: "rest"}},
	}
	others, err := install.Around(kept, l.plan.Keep.Others, l.sector, imageSize, diskSize)
	if err != nil {
		l.t.Fatal(err)
	}
	return append([]disk.Entry{kept}, others...)
}

func (l *lab) wantKept(kept []disk.Entry) {
	l.t.Helper()
	if at := firstDifference(l.disk("sda"), l.installed(kept...)); at >= 0 {
		l.t.Errorf("the disk differs at byte %d from the image with what it keeps", at)
	}
}

func TestKeep(t *testing.T) {
	l := newLab(t, 2*blockSize)
	kept := l.keeping()
	// Installed again, it is found in the table of the image.
	for range 2 {
		if err := install.Run(context.Background(), l.opts); err != nil {
			t.Fatal(err)
		}
		l.wantKept(kept)
	}
	for _, want := range []string{
		"k8snode: keeping partition k8snode-etcd: 1 MiB at 9 MiB\n", "k8snode: making partition state: 1 MiB at 8 MiB\n", "k8snode: making partition rest: 1 MiB at 10 MiB\n",
	} {
		if !strings.Contains(l.console.String(), want) {
			t.Errorf("the console lacks %q:\n%s", want, &l.console)
		}
	}
}

// The power goes at every write in turn. Whatever is left, the next install keeps what
// it should.
func TestKeepPowerCutAtEveryWrite(t *testing.T) {
	for cut := 1; ; cut++ {
		l := newLab(t, 2*blockSize)
		kept := l.keeping()
		var writes atomic.Int32
		l.watch(watchedTarget{beforeWrite: func([]byte, int64) error {
			if int(writes.Add(1)) >= cut {
				return errors.New("power cut")
			}
			return nil
		}})
		err := install.Run(context.Background(), l.opts)
		if err == nil {
			if cut < 10 {
				t.Errorf("the install made %d writes", cut-1)
			}
			return
		}
		if !strings.Contains(err.Error(), "power cut") {
			t.Fatal(err)
		}
		l.opts.Open = nil
		if err := install.Run(context.Background(), l.opts); err != nil {
			t.Fatalf("after a power cut at write %d: %v", cut, err)
		}
		l.wantKept(kept)
	}
}

func TestKeepRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*lab)
		want   string
	}{
		{"nothing there", func(l *lab) { l.plan.Keep.Label = "data" },
			`keeping partition "data": reading partition table: partition table has 0 partitions labelled "data", want 1; to install without what it held, open a window that keeps nothing`},
		{"no room", func(l *lab) { l.plan.Keep.Others[0].SizeMiB = 3 },
			`making partition "state": there is no room for it around the partition "k8snode-etcd", which stays`},
		{"another size", func(l *lab) { l.plan.Keep.SizeMiB = 2 },
			"it has 1048576 bytes, and the node's config expects 2 MiB: the quota of etcd is another than at the install before"},
		{"a larger image", func(l *lab) {
			l.blocks.Size = 10 * mib
			l.plan.Image.BlockMapSHA256 = digest(l.blockMap())
		}, "the image needs the first 10 MiB of the disk, and it begins at 9 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, 2*blockSize)
			l.keeping()
			tt.change(l)
			before := l.disk("sda")
			l.wantFailure(install.Run(context.Background(), l.opts), tt.want)
			if at := firstDifference(l.disk("sda"), before); at >= 0 {
				t.Errorf("the disk was written at byte %d", at)
			}
		})
	}
}
