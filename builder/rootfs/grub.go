package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/k8snode/k8snode/builder/source"
)

// GrubPackages are the Debian packages with what [Grub] needs.
func GrubPackages() []string {
	return []string{"grub-common", "grub-efi-amd64-bin", "grub-pc-bin"}
}

// GrubOptions are the inputs of [Grub].
type GrubOptions struct {
	// Root is an unpacked root with [GrubPackages].
	Root  string
	Epoch time.Time
	// Work is the folder for the results.
	Work string
	Env  []string
}

// GrubImages are the paths of what [Grub] made.
type GrubImages struct {
	// DiskMBR is boot.img and DiskCore a core image, for a disk: they still
	// lack the sectors that they are put in. The configuration is
	// /grub/grub.cfg on the second partition.
	DiskMBR, DiskCore string
	// ISOMBR is boot_hybrid.img for an ISO on a disk, ISOCore the boot image
	// of its El Torito entry, in either case with the ISO's own
	// /boot/grub/grub.cfg.
	ISOMBR, ISOCore string
	// EFI is an EFI program that reads /EFI/BOOT/grub.cfg of the file system
	// that it is started from.
	EFI string
}

// grubLibrary is where Debian's packages have GRUB's images.
const grubLibrary = "usr/lib/grub"

// grubImage is a call of grub-mkimage.
type grubImage struct {
	file, format, prefix string
	modules              []string
}

// grubCommon are modules of every image: the configuration's own commands, a
// serial line, and what a person at the prompt needs if it fails.
var grubCommon = []string{ //nolint:gochecknoglobals // a constant list
	"normal", "linux", "serial", "terminal", "test", "echo", "ls", "halt", "reboot",
}

func grubImages() []grubImage {
	with := func(modules ...string) []string { return append(modules, grubCommon...) }
	return []grubImage{
		// The second partition of whichever disk the firmware started.
		{"disk-core.img", "i386-pc", "(,gpt2)/grub", with("biosdisk", "part_gpt", "fat")},
		{"iso-core.img", "i386-pc-eltorito", "/boot/grub", with("biosdisk", "iso9660")},
		// The program is on a small FAT, and looks for the ISO around it.
		{"grub.efi", "x86_64-efi", "/EFI/BOOT", with("part_gpt", "part_msdos", "fat", "iso9660", "search", "search_label", "configfile", "efi_gop")},
	}
}

func (g grubImage) args() []string {
	return append([]string{"grub-mkimage", "--format=" + g.format, "--prefix=" + g.prefix}, g.modules...)
}

// GrubDigest names the way that [Grub] makes its images, for the key of the
// step that does.
func GrubDigest() string {
	var all [][]string
	for _, g := range grubImages() {
		all = append(all, g.args())
	}
	return source.SumJSON(all)
}

// Grub makes GRUB's boot images with the programs and modules of the root
// itself: one recipe gives one GRUB, whatever the host has. No device is
// touched, and grub-install is not run.
func Grub(ctx context.Context, o GrubOptions) (GrubImages, error) {
	for _, g := range grubImages() {
		if err := g.make(ctx, o); err != nil {
			return GrubImages{}, fmt.Errorf("making GRUB's image %s: %w", g.file, err)
		}
	}
	for _, name := range []string{"boot.img", "boot_hybrid.img"} {
		if err := copyGrub(filepath.Join(o.Work, name), filepath.Join(o.Root, grubLibrary, "i386-pc", name)); err != nil {
			return GrubImages{}, fmt.Errorf("copying GRUB's image %s: %w", name, err)
		}
	}
	at := func(name string) string { return filepath.Join(o.Work, name) }
	return GrubImages{
		DiskMBR: at("boot.img"), DiskCore: at("disk-core.img"),
		ISOMBR: at("boot_hybrid.img"), ISOCore: at("iso-core.img"),
		EFI: at("grub.efi"),
	}, nil
}

func (g grubImage) make(ctx context.Context, o GrubOptions) error {
	modules, _, _ := strings.Cut(g.format, "-eltorito")
	if _, err := os.Stat(filepath.Join(o.Root, grubLibrary, modules, "moddep.lst")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the root has no GRUB for %s: add %s to spec.packages", modules, strings.Join(GrubPackages(), ", "))
	}
	out, err := os.Create(filepath.Join(o.Work, g.file))
	if err != nil {
		return err
	}
	defer out.Close()
	env := []string{o.Root, "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8", fmt.Sprintf("SOURCE_DATE_EPOCH=%d", o.Epoch.Unix())}
	cmd := exec.CommandContext(ctx, "chroot", append(env, g.args()...)...)
	cmd.Env, cmd.Stdout = o.Env, out
	if _, err := source.Run(cmd); err != nil {
		return err
	}
	return out.Close()
}

func copyGrub(dst, src string) error {
	b, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	return os.WriteFile(dst, b, 0o644)
}
