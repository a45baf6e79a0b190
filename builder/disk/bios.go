package disk

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/template"

	"github.com/k8snode/k8snode/images"
)

// BIOS is what starts a machine without UEFI: GRUB, with the kernel and the
// initramfs that are in the EFI program.
type BIOS struct {
	// MBR is GRUB's boot.img, Core a core.img of format i386-pc with the
	// prefix (,gpt2)/grub: the EFI system partition of the disk that it was
	// read from.
	MBR, Core []byte
	// Cmdline is the kernel command line.
	Cmdline string
	// Kernel and Initrd are ranges of the file Content.Boot. Each begins at a
	// multiple of 512 bytes, and is followed by zeros up to one.
	Kernel, Initrd Extent
}

const grubConfigPath = "/grub/grub.cfg"

// What grub-install changes, from GRUB 2.12's include/grub/i386/pc/boot.h and
// util/setup.c. GRUB counts in sectors of 512 bytes.
const (
	grubSector = 512
	// mbrCode ends where the disk signature and the partition table begin.
	mbrCode = 440
	// mbrKernelSector holds the sector of the core image.
	mbrKernelSector = 0x5c
	// mbrDriveCheck is a jump over a check of the drive number in DL. Two
	// no-ops in its place enable the check, which corrects firmware that
	// passes 0 or 1 for a hard disk.
	mbrDriveCheck = 0x66
	// coreBlocks is the block list at the end of the core image's first
	// sector: where the other sectors are, how many, and the segment that
	// they are loaded to.
	coreBlocks  = grubSector - 12
	coreSegment = 0x820
)

// install writes GRUB's boot sector and core image.
func (g BIOS) install(image *os.File, l Layout) error {
	if l.Info.SectorSize != grubSector {
		return fmt.Errorf("sectors have %d bytes, which no BIOS boots from", l.Info.SectorSize)
	}
	part := l.Partition(images.LabelBIOS)
	mbr, core, err := g.images(part)
	if err != nil {
		return err
	}
	// Behind the code is the protective partition table.
	if _, err := image.WriteAt(mbr[:mbrCode], 0); err != nil {
		return fmt.Errorf("writing the boot sector: %w", err)
	}
	if _, err := image.WriteAt(core, part.Start); err != nil {
		return fmt.Errorf("writing the core image: %w", err)
	}
	return nil
}

// images returns the boot sector and the core image for a partition.
func (g BIOS) images(part images.Partition) (mbr, core []byte, err error) {
	if len(g.MBR) != grubSector || g.MBR[510] != 0x55 || g.MBR[511] != 0xaa || g.MBR[mbrDriveCheck] != 0xeb {
		return nil, nil, errors.New("the boot sector is not GRUB's boot.img")
	}
	sectors := (len(g.Core) + grubSector - 1) / grubSector
	le := binary.LittleEndian
	if sectors < 2 || le.Uint16(g.Core[coreBlocks+8:]) != uint16(sectors-1) || le.Uint16(g.Core[coreBlocks+10:]) != coreSegment {
		return nil, nil, errors.New("the core image is not one of format i386-pc")
	}
	if int64(sectors)*grubSector > part.Size {
		return nil, nil, fmt.Errorf("the core image has %d bytes and its partition %d", len(g.Core), part.Size)
	}
	first := uint64(part.Start) / grubSector
	mbr = bytes.Clone(g.MBR)
	le.PutUint64(mbr[mbrKernelSector:], first)
	mbr[mbrDriveCheck], mbr[mbrDriveCheck+1] = 0x90, 0x90
	core = bytes.Clone(g.Core)
	le.PutUint64(core[coreBlocks:], first+1)
	return mbr, core, nil
}

// config returns grub.cfg for a boot program that is at a place of the EFI
// system partition.
func (g BIOS) config(program Extent) ([]byte, error) {
	kernel, err := blockList(program, g.Kernel)
	if err != nil {
		return nil, fmt.Errorf("placing the kernel: %w", err)
	}
	initrd, err := blockList(program, g.Initrd)
	if err != nil {
		return nil, fmt.Errorf("placing the initramfs: %w", err)
	}
	return GRUBConfig(GRUBEntry{Title: "k8snode", Kernel: kernel, Initrd: initrd, Cmdline: g.Cmdline})
}

// blockList names a range of a file by its sectors, relative to the partition
// that GRUB has as its root.
func blockList(program, part Extent) (string, error) {
	at := program.Offset + part.Offset
	if part.Size <= 0 || part.Offset < 0 || part.Offset+part.Size > program.Size {
		return "", fmt.Errorf("%d bytes at %d are not in the %d of the boot program", part.Size, part.Offset, program.Size)
	}
	if at%grubSector != 0 {
		return "", fmt.Errorf("offset %d is not a multiple of %d", at, grubSector)
	}
	return fmt.Sprintf("($root)%d+%d", at/grubSector, (part.Size+grubSector-1)/grubSector), nil
}

// A GRUBEntry is the one entry of a menu.
type GRUBEntry struct {
	// Title is what the menu shows.
	Title string
	// Kernel and Initrd are file names in GRUB's sense.
	Kernel, Initrd string
	// Cmdline is the kernel command line.
	Cmdline string
}

//go:embed templates/grub.cfg.tmpl
var grubConfig string

var grubTemplate = template.Must(template.New("grub.cfg").Option("missingkey=error").Parse(grubConfig)) //nolint:gochecknoglobals // parsed once

// GRUBConfig returns a grub.cfg that starts the entry at once, with its
// messages on the first serial line and on the screen.
func GRUBConfig(e GRUBEntry) ([]byte, error) {
	// GRUB's quotes protect all but the quote itself, and its loader for Linux
	// puts a backslash before these.
	for _, s := range []string{e.Title, e.Cmdline} {
		if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`'"\`, r) }); i >= 0 {
			return nil, fmt.Errorf("writing grub.cfg: %q has the character %q, which GRUB cannot pass on", s, s[i:i+1])
		}
	}
	words := strings.Fields(e.Cmdline)
	for i, w := range words {
		words[i] = "'" + w + "'"
	}
	e.Cmdline = strings.Join(words, " ")
	var b bytes.Buffer
	if err := grubTemplate.Execute(&b, e); err != nil {
		return nil, fmt.Errorf("writing grub.cfg: %w", err)
	}
	return b.Bytes(), nil
}
