package rootfs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/k8snode/k8snode/builder/rootfs"
)

// TestGrub uses the host's own GRUB, of whatever version, as the root's.
func TestGrub(t *testing.T) {
	if _, err := os.Stat("/usr/lib/grub/i386-pc/boot_hybrid.img"); err != nil || os.Getuid() != 0 {
		t.Skip("it needs root and GRUB: scripts/host-packages.sh test installs it")
	}
	grub := func(epoch time.Time) rootfs.GrubImages {
		t.Helper()
		g, err := rootfs.Grub(t.Context(), rootfs.GrubOptions{Root: "/", Epoch: epoch, Work: t.TempDir(), Env: os.Environ()})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	a, b := grub(time.Unix(1767225600, 0)), grub(time.Unix(1, 0))
	for _, tc := range []struct {
		name, first, again string
		offset             int
		magic              string
	}{
		{"disk's boot sector", a.DiskMBR, b.DiskMBR, 510, "\x55\xaa"},
		{"disk's core", a.DiskCore, b.DiskCore, 0x1fe, "\x20\x08"},
		{"ISO's boot sector", a.ISOMBR, b.ISOMBR, 510, "\x55\xaa"},
		{"ISO's core", a.ISOCore, b.ISOCore, 2048 + 0x1fe - 512, ""},
		{"EFI program", a.EFI, b.EFI, 0, "MZ"},
	} {
		first, err := os.ReadFile(tc.first)
		if err != nil {
			t.Fatal(err)
		}
		if len(first) < 512 || !bytes.HasPrefix(first[tc.offset:], []byte(tc.magic)) {
			t.Errorf("%s: %d bytes, not of the wanted kind", tc.name, len(first))
		}
		if again, err := os.ReadFile(tc.again); err != nil || !bytes.Equal(first, again) {
			t.Errorf("%s: made twice, it differs (%v)", tc.name, err)
		}
	}
	// Each looks for its configuration in a place of its own.
	for file, prefix := range map[string]string{a.EFI: "/EFI/BOOT"} {
		if b, err := os.ReadFile(file); err != nil || !bytes.Contains(b, []byte(prefix)) {
			t.Errorf("%s does not have its prefix %s (%v)", filepath.Base(file), prefix, err)
		}
	}
}

func TestGrubMissing(t *testing.T) {
	_, err := rootfs.Grub(t.Context(), rootfs.GrubOptions{Root: t.TempDir(), Work: t.TempDir()})
	const want = "making GRUB's image disk-core.img: the root has no GRUB for i386-pc: " +
		"add grub-common, grub-efi-amd64-bin, grub-pc-bin to spec.packages"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
