package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/backend/file"
	godisk "github.com/diskfs/go-diskfs/disk"
	"github.com/diskfs/go-diskfs/filesystem"
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
}

// Write makes the raw image at dst, sparse.
//
// The EFI system partition's timestamps are those of the environment variable
// SOURCE_DATE_EPOCH, which go-diskfs reads itself.
func (l Layout) Write(dst string, c Content) error {
	d, err := diskfs.Create(dst, l.Info.Size, diskfs.SectorSizeDefault)
	if err != nil {
		return fmt.Errorf("creating the disk image: %w", err)
	}
	if err := d.Partition(l.table()); err != nil {
		return fmt.Errorf("writing the partition table: %w", err)
	}
	if err := writeESP(d, c.Boot); err != nil {
		return fmt.Errorf("writing the EFI system partition: %w", err)
	}
	if err := d.Close(); err != nil {
		return fmt.Errorf("closing the disk image: %w", err)
	}
	if err := fixParent(dst, l.Partition(images.LabelESP).Start, "EFI"); err != nil {
		return fmt.Errorf("writing the EFI system partition: %w", err)
	}
	if err := copyAt(dst, l.Partition(images.LabelRoot).Start, c.Root); err != nil {
		return fmt.Errorf("writing the root partition: %w", err)
	}
	return nil
}

// Read returns the partition table of a raw image.
func Read(name string) (images.DiskInfo, error) {
	b, err := file.OpenFromPath(name, true)
	if err != nil {
		return images.DiskInfo{}, fmt.Errorf("opening the disk image: %w", err)
	}
	defer b.Close() //nolint:errcheck // what was read needs no good end
	d, err := diskfs.OpenBackend(b, diskfs.WithOpenMode(diskfs.ReadOnly))
	if err != nil {
		return images.DiskInfo{}, fmt.Errorf("opening the disk image: %w", err)
	}
	t, err := d.GetPartitionTable()
	if err != nil {
		return images.DiskInfo{}, fmt.Errorf("reading the partition table: %w", err)
	}
	table, ok := t.(*gpt.Table)
	if !ok || table.RecoveredFromBackup {
		return images.DiskInfo{}, fmt.Errorf("reading the partition table: %s has no valid primary GPT", name)
	}
	info := images.DiskInfo{Size: d.Size, SectorSize: table.LogicalSectorSize, GUID: upper(table.GUID)}
	for _, p := range table.Partitions {
		if p.Type == gpt.Unused {
			continue
		}
		info.Partitions = append(info.Partitions, images.Partition{
			Label: p.Name, Type: upper(string(p.Type)), GUID: upper(p.GUID),
			Start: int64(p.Start) * SectorSize, Size: int64(p.Size),
		})
	}
	return info, nil
}

func (l Layout) table() *gpt.Table {
	t := &gpt.Table{
		LogicalSectorSize: SectorSize, PhysicalSectorSize: SectorSize,
		GUID: l.Info.GUID, ProtectiveMBR: true,
	}
	for i, p := range l.Info.Partitions {
		t.Partitions = append(t.Partitions, &gpt.Partition{
			Index: i + 1,
			Start: uint64(p.Start / SectorSize), End: uint64((p.Start+p.Size)/SectorSize) - 1, Size: uint64(p.Size),
			Type: gpt.Type(p.Type), Name: p.Label, GUID: p.GUID,
		})
	}
	return t
}

func writeESP(d *godisk.Disk, boot string) error {
	fat, err := d.CreateFilesystem(godisk.FilesystemSpec{
		Partition: 1, FSType: filesystem.TypeFat32, VolumeLabel: "ESP", Reproducible: true,
	})
	if err != nil {
		return err
	}
	for _, dir := range []string{"/EFI", path.Dir(BootPath)} {
		if err := fat.Mkdir(dir); err != nil {
			return fmt.Errorf("making %s: %w", dir, err)
		}
	}
	src, err := os.Open(boot)
	if err != nil {
		return err
	}
	defer src.Close()
	out, err := fat.OpenFile(BootPath, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return fmt.Errorf("making %s: %w", BootPath, err)
	}
	// go-diskfs rewrites the allocation table at every write that grows a
	// file: few and large writes.
	if _, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{src}, make([]byte, 16*mib)); err != nil {
		return fmt.Errorf("writing %s: %w", BootPath, err)
	}
	return errors.Join(out.Close(), fat.Close())
}

func copyAt(dst string, offset int64, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := out.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}
