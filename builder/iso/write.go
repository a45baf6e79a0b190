package iso

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

// Paths on the ISO.
const (
	KernelPath = "boot/vmlinuz"
	InitrdPath = "boot/initrd.img"
	RootPath   = "live/rootfs.squashfs"
	ConfigPath = "boot/grub/grub.cfg"

	corePath    = "boot/grub/eltorito.img"
	efiPath     = "EFI/BOOT/grub.cfg"
	catalogPath = "boot/boot.cat"
)

// areaPath is the embed area of an installer.
var areaPath = strings.TrimPrefix(images.InstallerArea, "/") //nolint:gochecknoglobals // a constant of another package

// Tool is the program of the host that [Write] runs.
const Tool = "xorriso"

// GRUB are the paths of GRUB's images, as package rootfs makes them.
type GRUB struct {
	// MBR is boot_hybrid.img.
	MBR string
	// Core is of format i386-pc-eltorito with the prefix /boot/grub.
	Core string
	// EFI is an EFI program with the prefix /EFI/BOOT.
	EFI string
}

// Options are the content of an ISO.
type Options struct {
	// ID of the image.
	ID string
	// Epoch is the time of everything.
	Epoch time.Time
	// Kernel, Initrd and Root are paths. Without a Root the ISO is an installer:
	// it has an embed area instead, and other identifiers than the live ISO.
	Kernel, Initrd, Root string
	GRUB                 GRUB
	// Cmdline is the kernel command line.
	Cmdline string
	// Work is a folder for small files; it is made if it is not there.
	Work string
	// Env are KEY=value settings of xorriso, normally the caller's.
	Env []string
}

// What the identifiers of an ISO are made of, beside the ID of the image.
const (
	kindLive      = "iso"
	kindInstaller = "installer"
)

// Label is the volume label of the live ISO of the image with this ID:
// "K8SNODE-" and eight hexadecimal digits.
func Label(id string) string { return label(id, kindLive) }

// InstallerLabel is Label for the installer.
func InstallerLabel(id string) string { return label(id, kindInstaller) }

func label(id, kind string) string {
	return fmt.Sprintf("K8SNODE-%08X", disk.Serial(id, kind))
}

func (o Options) kind() string {
	if o.Root == "" {
		return kindInstaller
	}
	return kindLive
}

func (o Options) label() string { return label(o.ID, o.kind()) }

// Write makes the ISO dst.
func Write(ctx context.Context, dst string, o Options) error {
	if err := write(ctx, dst, o); err != nil {
		return fmt.Errorf("making the ISO: %w", err)
	}
	return nil
}

func write(ctx context.Context, dst string, o Options) error {
	config, err := disk.GRUBConfig(disk.GRUBEntry{
		Title: "k8snode", Kernel: "/" + KernelPath, Initrd: "/" + InitrdPath, Cmdline: o.Cmdline,
	})
	if err != nil {
		return err
	}
	// What xorriso is given has names of our choice: its own syntax would
	// trip over some that a folder may have.
	tree := filepath.Join(o.Work, "iso")
	files := map[string]string{KernelPath: o.Kernel, InitrdPath: o.Initrd, corePath: o.GRUB.Core}
	if o.Root != "" {
		files[RootPath] = o.Root
	} else if err := writeFile(filepath.Join(tree, areaPath), make([]byte, images.InstallerAreaSize)); err != nil {
		return err
	}
	for name, src := range files {
		if err := link(filepath.Join(tree, name), src); err != nil {
			return err
		}
	}
	if err := writeFile(filepath.Join(tree, ConfigPath), config); err != nil {
		return err
	}
	// From a CD, GRUB takes the ISO itself for the file system that it was
	// started from, as long as it has this file.
	var efi bytes.Buffer
	if err := efiTemplate.Execute(&efi, o.label()); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(tree, efiPath), efi.Bytes()); err != nil {
		return err
	}
	// It also makes the work folder.
	if err := link(filepath.Join(o.Work, mbrFile), o.GRUB.MBR); err != nil {
		return err
	}
	if err := o.writeESP(filepath.Join(o.Work, espFile), efi.Bytes()); err != nil {
		return err
	}
	if dst, err = filepath.Abs(dst); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, Tool, o.args(dst)...)
	cmd.Dir = o.Work
	cmd.Env = append(slices.Clone(o.Env), "TZ=UTC", "LC_ALL=C", "SOURCE_DATE_EPOCH="+strconv.FormatInt(o.Epoch.Unix(), 10))
	if _, err = source.Run(cmd); err != nil {
		return complaint(err)
	}
	return nil
}

// complaint leaves of what xorriso says what it complains of: it repeats all of
// its arguments and much else.
func complaint(err error) error {
	var failed *source.CommandError
	if !errors.As(err, &failed) {
		return err
	}
	var lines []string
	for line := range strings.Lines(failed.Output) {
		if strings.Contains(line, " : FAILURE : ") || strings.Contains(line, " : FATAL : ") || strings.Contains(line, " : SORRY : ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if len(lines) == 0 {
		return err
	}
	return &source.CommandError{Command: Tool, Output: strings.Join(lines, "\n"), Err: failed.Err}
}

// Names in the work folder.
const (
	mbrFile = "mbr.img"
	espFile = "esp.img"
)

// args are xorriso's, for the work folder. The order of the files on the ISO
// would otherwise follow their inode numbers.
func (o Options) args(dst string) []string {
	args := []string{
		"-no_rc", "-as", "mkisofs", "-quiet", "-o", dst,
		"-iso-level", "3", "-R", "-follow-links",
		"-uid", "0", "-gid", "0", "-dir-mode", "0555", "-file-mode", "0444",
		"-V", o.label(), "-no-pad",
		"--modification-date=" + o.Epoch.UTC().Format("20060102150405") + "00",
		"--set_all_file_dates", "=" + strconv.FormatInt(o.Epoch.Unix(), 10),
		// A disk: boot sector, GPT, and the FAT behind the ISO. Partition 1 is
		// the ISO once more, for those who mount partitions only. Some BIOSes
		// want an active entry.
		"--grub2-mbr", mbrFile, "--mbr-force-bootable",
		"-partition_offset", "16", "--gpt_disk_guid", disk.GUID(o.ID, o.kind()),
		"-append_partition", "2", disk.TypeESP, espFile, "-appended_part_as_gpt",
		// A CD, for BIOS and for UEFI.
		"-c", "/" + catalogPath,
		"-b", "/" + corePath, "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info",
		"-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot",
	}
	last := RootPath
	if o.Root == "" {
		last = areaPath
	}
	for i, name := range []string{corePath, ConfigPath, efiPath, KernelPath, InitrdPath, last} {
		args = append(args, "--sort-weight", strconv.Itoa(100-i), "/"+name)
	}
	return append(args, "iso")
}

//go:embed templates/efi.cfg.tmpl
var efiConfig string

var efiTemplate = template.Must(template.New("grub.cfg").Parse(efiConfig)) //nolint:gochecknoglobals // parsed once

// writeESP makes the file system that UEFI starts GRUB from.
func (o Options) writeESP(dst string, config []byte) error {
	program, err := os.ReadFile(o.GRUB.EFI)
	if err != nil {
		return err
	}
	return disk.FAT{
		Label: "ESP", Serial: disk.Serial(o.ID, o.kind()), Epoch: o.Epoch,
		Files: []disk.FATFile{
			{Path: disk.BootPath, Content: program},
			{Path: "/" + efiPath, Content: config},
		},
	}.Write(dst)
}

func writeFile(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}

// link makes a symbolic link to a file, with its folders.
func link(name, target string) error {
	target, err := filepath.Abs(target)
	if err != nil {
		return err
	}
	if _, err := os.Stat(target); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.Symlink(target, name)
}
