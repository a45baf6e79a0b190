package disk_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/images"
)

var (
	spec512  = images.Disk{ESPMiB: 64, RootMiB: 8}
	spec4096 = images.Disk{ESPMiB: 257, RootMiB: 8, SectorSize: 4096}
	epoch    = time.Date(2026, time.January, 1, 12, 34, 56, 0, time.UTC)
)

// Content of the boot program: the kernel and the initramfs in it are at
// multiples of 512 bytes and end anywhere.
const (
	kernelAt, kernelSize = 512 * 7, 300_001
	initrdAt, initrdSize = 512 * 1000, 2_000_123
)

var content = func() []byte {
	b := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	copy(b[kernelAt:], "KERNEL")
	clear(b[kernelAt+kernelSize : kernelAt+kernelSize+512])
	copy(b[initrdAt:], "INITRD")
	return b
}()

// grub are images with no code but all the fields that matter.
func grub() (mbr, core []byte) {
	mbr = bytes.Repeat([]byte{'m'}, 512)
	copy(mbr[0x66:], "\xeb\x05")
	copy(mbr[440:], bytes.Repeat([]byte{'x'}, 70))
	copy(mbr[510:], "\x55\xaa")
	core = bytes.Repeat([]byte{'c'}, 100_000)
	copy(core[0x1f4:], "\x02\x00\x00\x00\x00\x00\x00\x00\xc3\x00\x20\x08")
	return mbr, core
}

func bios() *disk.BIOS {
	mbr, core := grub()
	return &disk.BIOS{
		MBR: mbr, Core: core, Cmdline: "root=/dev/mapper/root ro k8snode.verity=ab:4096",
		Kernel: disk.Extent{Offset: kernelAt, Size: kernelSize},
		Initrd: disk.Extent{Offset: initrdAt, Size: initrdSize},
	}
}

// write makes an image and checks it with everything that did not write it.
func write(t *testing.T, spec images.Disk, id string, g *disk.BIOS) (disk.Layout, string) {
	t.Helper()
	dir := t.TempDir()
	boot, root, raw := filepath.Join(dir, "boot"), filepath.Join(dir, "root"), filepath.Join(dir, "raw")
	for name, b := range map[string][]byte{boot: content, root: content[:3_000_000]} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := disk.NewLayout(spec, id, 3_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Write(raw, disk.Content{Boot: boot, Root: root, BIOS: g, Epoch: epoch}); err != nil {
		t.Fatal(err)
	}
	if err := disk.Check(raw); err != nil {
		t.Error(err)
	}
	checkFAT(t, raw, l)
	return l, raw
}

func TestWrite(t *testing.T) {
	for _, tc := range []struct {
		name string
		spec images.Disk
		bios *disk.BIOS
	}{
		{"512 with BIOS", spec512, bios()},
		{"512 without BIOS", spec512, nil},
		{"4096", spec4096, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, raw := write(t, tc.spec, "image-1", tc.bios)
			got, err := disk.Read(raw)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(l.Info, got); diff != "" {
				t.Error(diff)
			}
			b, err := os.ReadFile(raw)
			if err != nil {
				t.Fatal(err)
			}
			root := part(b, l, images.LabelRoot)
			if !bytes.Equal(root[:3_000_000], content[:3_000_000]) || !empty(root[3_000_000:]) {
				t.Error("the root partition holds something else")
			}
			if !empty(part(b, l, images.LabelSeed)) {
				t.Error("the seed partition is not empty")
			}
			if empty(part(b, l, images.LabelBIOS)) != (tc.bios == nil) || empty(b[:440]) != (tc.bios == nil) {
				t.Error("boot code is not where it should be")
			}
			checkESP(t, raw, tc.bios)

			// Again, in another folder, time zone and umask, and with another
			// time in the environment, which go-diskfs reads.
			t.Setenv("TZ", "Pacific/Kiritimati")
			t.Setenv("SOURCE_DATE_EPOCH", "86400")
			defer syscall.Umask(syscall.Umask(0o077))
			_, again := write(t, tc.spec, "image-1", tc.bios)
			if b2, err := os.ReadFile(again); err != nil || !bytes.Equal(b, b2) {
				t.Error("written twice, it differs")
			}
		})
	}
}

// checkESP reads the file system with package disk's own reader.
func checkESP(t *testing.T, raw string, g *disk.BIOS) {
	t.Helper()
	esp, err := disk.OpenESP(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer esp.Close()
	want := []string{"EFI/BOOT/BOOTX64.EFI"}
	if g != nil {
		want = append(want, "grub/grub.cfg")
	}
	var got []string
	if err := fs.WalkDir(esp, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			got = append(got, p)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if b, err := fs.ReadFile(esp, want[0]); err != nil || !bytes.Equal(b, content) {
		t.Errorf("the boot program differs (%v)", err)
	}
	st, err := fs.Stat(esp, want[0])
	if err != nil {
		t.Fatal(err)
	}
	if !st.ModTime().Equal(epoch) {
		t.Errorf("modified at %v, want %v", st.ModTime(), epoch)
	}
	if _, err := fs.Stat(esp, "grub/grub.cfg"); (err == nil) != (g != nil) {
		t.Errorf("grub.cfg: %v", err)
	}
}

func part(b []byte, l disk.Layout, label string) []byte {
	p := l.Partition(label)
	return b[p.Start : p.Start+p.Size]
}

func empty(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// checkFAT asks fsck.fat, which did not write it.
func checkFAT(t *testing.T, raw string, l disk.Layout) {
	t.Helper()
	esp := l.Partition(images.LabelESP)
	img := filepath.Join(t.TempDir(), "esp")
	dd := []string{"if=" + raw, "of=" + img, "bs=1M", "conv=sparse", "status=none"}
	run(t, "dd", append(dd, fmt.Sprintf("skip=%d", esp.Start>>20), fmt.Sprintf("count=%d", esp.Size>>20))...)
	run(t, "fsck.fat", "-n", img)
}

// run runs a program that may be absent from a machine where only Go is.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath(name)
	if err != nil {
		t.Logf("%s is not installed: scripts/host-packages.sh installs it, and make test runs that", name)
		return ""
	}
	out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestOtherTools(t *testing.T) {
	_, raw := write(t, spec512, "image-1", bios())
	if out := run(t, "sgdisk", "--verify", raw); out != "" && !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk: %s", out)
	}
	for _, tc := range []struct {
		raw, sector, want string
	}{
		{raw, "512", "1 2048 2048 bios\n2 4096 131072 esp\n3 135168 2048 k8snode-seed\n4 137216 16384 k8snode-root\n"},
		// Partx counts in sectors of 512 bytes, whatever the disk has.
		{rawPath(write(t, spec4096, "image-1", nil)), "4096", "1 2048 2048 bios\n2 4096 526336 esp\n3 530432 2048 k8snode-seed\n4 532480 16384 k8snode-root\n"},
	} {
		out := run(t, "partx", "--raw", "--noheadings", "--output", "NR,START,SECTORS,NAME", "--sector-size", tc.sector, tc.raw)
		if out != "" && out != tc.want {
			t.Errorf("sectors of %s bytes: partx says\n%swant\n%s", tc.sector, out, tc.want)
		}
	}
}

func rawPath(_ disk.Layout, raw string) string { return raw }

func TestImagesDiffer(t *testing.T) {
	a, rawA := write(t, spec512, "image-1", nil)
	b, rawB := write(t, spec512, "image-2", nil)
	if a.Info.GUID == b.Info.GUID {
		t.Error("two images share a disk GUID")
	}
	serial := func(l disk.Layout, raw string) string {
		all, err := os.ReadFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		esp := part(all, l, images.LabelESP)
		if !bytes.Equal(esp[67:71], esp[6*512+67:6*512+71]) {
			t.Error("the boot sector and its backup have two serial numbers")
		}
		return string(esp[67:71])
	}
	if serial(a, rawA) == serial(b, rawB) {
		t.Error("two images share a FAT serial number")
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	large, small, program := filepath.Join(dir, "large"), filepath.Join(dir, "small"), filepath.Join(dir, "program")
	for name, size := range map[string]int64{large: 63 << 20, small: 1000, program: int64(len(content))} {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(name, size); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name    string
		spec    images.Disk
		content disk.Content
		err     string
	}{
		{"boot program", spec512, disk.Content{Boot: large, Root: small},
			"writing the EFI system partition: writing /EFI/BOOT/BOOTX64.EFI: its 63 MiB do not fit into the file system of 64: raise spec.disk.espMiB"},
		{"root", spec512, disk.Content{Boot: small, Root: large}, "writing the root partition: 66060288 bytes do not fit into 8388608"},
		{"no boot program", spec512, disk.Content{Boot: filepath.Join(dir, "none"), Root: small},
			"writing the EFI system partition: open " + filepath.Join(dir, "none") + ": no such file or directory"},
		{"BIOS with large sectors", spec4096, disk.Content{Boot: program, Root: small, BIOS: bios()},
			"writing the BIOS boot partition: sectors have 4096 bytes, which no BIOS boots from"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := disk.NewLayout(tc.spec, "x", 0)
			if err != nil {
				t.Fatal(err)
			}
			err = l.Write(filepath.Join(t.TempDir(), "raw"), tc.content)
			if err == nil || err.Error() != tc.err {
				t.Errorf("error %v, want %s", err, tc.err)
			}
		})
	}
}

func TestLayoutRefuses(t *testing.T) {
	for _, tc := range []struct {
		spec images.Disk
		err  string
	}{
		{images.Disk{ESPMiB: 64, RootMiB: 8}, "laying out the disk: the root has 9 MiB and spec.disk.rootMiB allows 8: raise it"},
		{images.Disk{ESPMiB: 32, RootMiB: 9}, "laying out the disk: spec.disk.espMiB is 32, and FAT32 with sectors of 512 bytes needs 33: raise it"},
		{images.Disk{ESPMiB: 256, RootMiB: 9, SectorSize: 4096}, "laying out the disk: spec.disk.espMiB is 256, and FAT32 with sectors of 4096 bytes needs 257: raise it"},
		{images.Disk{ESPMiB: 64, RootMiB: 9, SectorSize: 520}, "laying out the disk: spec.disk.sectorSize is 520: want 512 or 4096"},
	} {
		if _, err := disk.NewLayout(tc.spec, "x", 9<<20); err == nil || err.Error() != tc.err {
			t.Errorf("%+v: error %v, want %s", tc.spec, err, tc.err)
		}
	}
	if _, err := disk.NewLayout(images.Disk{ESPMiB: 33, RootMiB: 9}, "x", 9<<20); err != nil {
		t.Error(err)
	}
}

func TestGUID(t *testing.T) {
	if got, want := disk.GUID("id", "disk"), disk.GUID("id", "disk"); got != want {
		t.Errorf("%s, then %s", got, want)
	}
	if disk.GUID("id", "disk") == disk.GUID("id", "esp") {
		t.Error("two parts of an image share a GUID")
	}
	if g := disk.GUID("id", "disk"); g[14] != '5' || strings.ToUpper(g) != g {
		t.Errorf("%s is not a UUIDv5 in upper case", g)
	}
}
