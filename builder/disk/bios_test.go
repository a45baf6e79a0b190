package disk_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/images"
)

func TestBIOS(t *testing.T) {
	l, raw := write(t, spec512, "image-1", bios())
	_, plain := write(t, spec512, "image-1", nil)
	b, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	without, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}

	// The boot sector: GRUB's code with two fields set, the protective table
	// as it was.
	mbr, core := grub()
	copy(mbr[0x5c:], "\x00\x08\x00\x00\x00\x00\x00\x00") // 1 MiB is sector 2048
	copy(mbr[0x66:], "\x90\x90")
	if !bytes.Equal(b[:440], mbr[:440]) {
		t.Error("the boot code differs")
	}
	if !bytes.Equal(b[440:1<<20], without[440:1<<20]) {
		t.Error("the partition tables are not those of a disk without BIOS boot")
	}
	copy(core[0x1f4:], "\x01\x08\x00\x00\x00\x00\x00\x00\xc3\x00\x20\x08")
	if got := part(b, l, images.LabelBIOS); !bytes.Equal(got[:len(core)], core) || !empty(got[len(core):]) {
		t.Error("the core image differs")
	}

	// GRUB reads the kernel and the initramfs by their sectors.
	config := espFile(t, raw, "grub/grub.cfg")
	m := regexp.MustCompile(`linux \(\$root\)(\d+)\+(\d+) 'root=/dev/mapper/root' 'ro' 'k8snode.verity=ab:4096'\n  initrd \(\$root\)(\d+)\+(\d+)\n`).FindStringSubmatch(config)
	if m == nil {
		t.Fatalf("grub.cfg is\n%s", config)
	}
	esp := part(b, l, images.LabelESP)
	for i, want := range [][]byte{content[kernelAt : kernelAt+kernelSize], content[initrdAt : initrdAt+initrdSize]} {
		var start, count int
		if _, err := fmt.Sscan(m[1+2*i]+" "+m[2+2*i], &start, &count); err != nil {
			t.Fatal(err)
		}
		if got := esp[start*512:][:count*512]; !bytes.HasPrefix(got, want) || len(got)-len(want) >= 512 {
			t.Errorf("sectors %d+%d are not the wanted part of the boot program", start, count)
		}
	}
}

func espFile(t *testing.T, raw, name string) string {
	t.Helper()
	esp, err := disk.OpenESP(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer esp.Close()
	f, err := esp.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBIOSRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*disk.BIOS)
		err    string
	}{
		{"short boot sector", func(g *disk.BIOS) { g.MBR = g.MBR[:511] }, "writing the BIOS boot partition: the boot sector is not GRUB's boot.img"},
		{"other boot sector", func(g *disk.BIOS) { g.MBR[0x66] = 0 }, "writing the BIOS boot partition: the boot sector is not GRUB's boot.img"},
		{"no core", func(g *disk.BIOS) { g.Core = nil }, "writing the BIOS boot partition: the core image is not one of format i386-pc"},
		{"core for a CD", func(g *disk.BIOS) { clear(g.Core[500:512]) }, "writing the BIOS boot partition: the core image is not one of format i386-pc"},
		{"cut core", func(g *disk.BIOS) { g.Core = g.Core[:90_000] }, "writing the BIOS boot partition: the core image is not one of format i386-pc"},
		{"large core", func(g *disk.BIOS) {
			g.Core = append(g.Core, make([]byte, 1<<20)...)
			binary.LittleEndian.PutUint16(g.Core[508:], uint16((len(g.Core)+511)/512-1))
		}, "writing the BIOS boot partition: the core image has 1148576 bytes and its partition 1048576"},
		{"kernel between sectors", func(g *disk.BIOS) { g.Kernel.Offset++ },
			"writing the EFI system partition: placing the kernel: offset 1053697 is not a multiple of 512"},
		{"kernel elsewhere", func(g *disk.BIOS) { g.Kernel.Offset = 512 * 6250 },
			"writing the EFI system partition: placing the kernel: 300001 bytes at 3200000 are not in the 3200000 of the boot program"},
		{"no initramfs", func(g *disk.BIOS) { g.Initrd = disk.Extent{} },
			"writing the EFI system partition: placing the initramfs: 0 bytes at 0 are not in the 3200000 of the boot program"},
		{"quote", func(g *disk.BIOS) { g.Cmdline = `a "b c"` },
			`writing the EFI system partition: writing grub.cfg: "a \"b c\"" has the character "\"", which GRUB cannot pass on`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			boot := filepath.Join(dir, "boot")
			if err := os.WriteFile(boot, content, 0o644); err != nil {
				t.Fatal(err)
			}
			l, err := disk.NewLayout(spec512, "x", 0)
			if err != nil {
				t.Fatal(err)
			}
			g := bios()
			tc.change(g)
			err = l.Write(filepath.Join(dir, "raw"), disk.Content{Boot: boot, Root: boot, BIOS: g})
			if err == nil || err.Error() != tc.err {
				t.Errorf("error %v, want %s", err, tc.err)
			}
		})
	}
}

func TestGRUBConfig(t *testing.T) {
	got, err := disk.GRUBConfig(disk.GRUBEntry{Title: "k8snode", Kernel: "/boot/vmlinuz", Initrd: "/boot/initrd.img", Cmdline: "ro  a=$x;{b} quiet"})
	if err != nil {
		t.Fatal(err)
	}
	const want = `# Made by k8snode. A machine without a serial line keeps the screen.
if serial --unit=0 --speed=115200; then
  terminal_input serial console
  terminal_output serial console
fi
set default=0
set timeout=0
menuentry 'k8snode' {
  linux /boot/vmlinuz 'ro' 'a=$x;{b}' 'quiet'
  initrd /boot/initrd.img
}
`
	if string(got) != want {
		t.Errorf("got\n%s", got)
	}
}
