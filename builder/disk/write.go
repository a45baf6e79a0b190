package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/partition/gpt"

	"github.com/k8snode/k8snode/images"
)

// BootPath is where firmware looks for the program of a disk without boot
// entries (UEFI specification, 3.5.1.1).
const BootPath = "/EFI/BOOT/BOOTX64.EFI"

// Content is what goes onto the disk: paths of files.
type Content struct {
	// Boot is the EFI program, Root the image of the root file system.
	Boot, Root string
	// BIOS makes the disk start without UEFI too; nil leaves that out. It
	// needs sectors of 512 bytes.
	BIOS *BIOS
	// Epoch is the time of every file of the EFI system partition; before
	// 1980 it is the first day of that year.
	Epoch time.Time
}

// Write makes the raw image at dst, a file that does not exist yet, sparse.
func (l Layout) Write(dst string, c Content) error {
	d, err := diskfs.Create(dst, l.Info.Size, diskfs.SectorSize(l.Info.SectorSize))
	if err != nil {
		return fmt.Errorf("creating the disk image: %w", err)
	}
	if err := d.Partition(l.table()); err != nil {
		return fmt.Errorf("writing the partition table: %w", err)
	}
	if err := d.Close(); err != nil {
		return fmt.Errorf("writing the partition table: %w", err)
	}
	image, err := os.OpenFile(dst, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer image.Close()
	if err := l.writeESP(image, c); err != nil {
		return fmt.Errorf("writing the EFI system partition: %w", err)
	}
	if c.BIOS != nil {
		if err := c.BIOS.install(image, l); err != nil {
			return fmt.Errorf("writing the BIOS boot partition: %w", err)
		}
	}
	if err := l.writeRoot(image, c.Root); err != nil {
		return fmt.Errorf("writing the root partition: %w", err)
	}
	if err := image.Close(); err != nil {
		return fmt.Errorf("closing the disk image: %w", err)
	}
	return nil
}

func (l Layout) table() *gpt.Table {
	sector := int64(l.Info.SectorSize)
	t := &gpt.Table{
		LogicalSectorSize: int(sector), PhysicalSectorSize: int(sector),
		GUID: l.Info.GUID, ProtectiveMBR: true,
	}
	for i, p := range l.Info.Partitions {
		t.Partitions = append(t.Partitions, &gpt.Partition{
			Index: i + 1,
			Start: uint64(p.Start / sector), End: uint64((p.Start+p.Size)/sector) - 1, Size: uint64(p.Size),
			Type: gpt.Type(p.Type), Name: p.Label, GUID: p.GUID,
		})
	}
	return t
}

func (l Layout) writeESP(image *os.File, c Content) error {
	esp := l.Partition(images.LabelESP)
	w, err := newFAT(image, fatOptions{
		start: esp.Start, size: esp.Size, sector: l.Info.SectorSize,
		label: "ESP", serial: Serial(l.id, images.LabelESP), epoch: c.Epoch,
	})
	if err != nil {
		return err
	}
	program, err := w.addFile(BootPath, c.Boot)
	if errors.Is(err, errFull) {
		return fmt.Errorf("%w: raise spec.disk.espMiB", err)
	}
	if err != nil {
		return err
	}
	if c.BIOS != nil {
		config, err := c.BIOS.config(program)
		if err != nil {
			return err
		}
		if _, err := w.add(grubConfigPath, bytes.NewReader(config), int64(len(config))); err != nil {
			return err
		}
	}
	return w.finish()
}

func (l Layout) writeRoot(image *os.File, root string) error {
	f, err := os.Open(root)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	part := l.Partition(images.LabelRoot)
	if st.Size() > part.Size {
		return fmt.Errorf("%d bytes do not fit into %d", st.Size(), part.Size)
	}
	return copyAt(image, part.Start, f, st.Size())
}
