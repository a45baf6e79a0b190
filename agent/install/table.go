package install

import (
	"context"
	"fmt"

	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
)

// findKept finds the partition that stays, or says why it cannot; nothing was
// written then.
func findKept(target disk.Target, keep *api.KeepPartition, blocks images.BlockMap, layout Layout) (*disk.Entry, error) {
	if keep == nil {
		return nil, nil
	}
	e, err := disk.FindEntry(target, blocks.SectorSize, layout.Disk, keep.Label)
	if err != nil {
		return nil, fmt.Errorf("keeping partition %q: %w; to install without what it held, open a window that keeps nothing", keep.Label, err)
	}
	switch {
	case e.Size != keep.SizeMiB*mib:
		err = fmt.Errorf("it has %d bytes, and the node's config expects %d MiB: the quota of etcd is another than at the install before", e.Size, keep.SizeMiB)
	case e.Start < blocks.Size:
		err = fmt.Errorf("the image needs the first %d MiB of the disk, and it begins at %d MiB", blocks.Size/mib, e.Start/mib)
	case e.Start < eraseSize || e.Start+e.Size > layout.Disk-eraseSize:
		err = fmt.Errorf("it is in the first or the last MiB of the disk")
	}
	if err != nil {
		return nil, fmt.Errorf("keeping partition %q: %w", keep.Label, err)
	}
	return &e, nil
}

// backupAt is where the backup table begins.
func (w writer) backupAt() int64 { return w.layout.Disk - disk.BackupSize(w.blocks.SectorSize) }

// erase makes the disk one that does not boot, and zeroes the gaps of the image. The
// place of a partition that stays is always in a table: in the backup, before the
// primary one is gone.
func (w writer) erase(ctx context.Context) error {
	front, end, gaps := w.layout.Zero[0], w.layout.Zero[1], w.layout.Zero[2:]
	if w.kept != nil {
		if err := w.writeChecked(w.kept.Backup(w.blocks.SectorSize, w.layout.Disk), w.backupAt()); err != nil {
			return err
		}
		end.Length = w.backupAt() - end.Offset
	}
	for _, r := range []Range{front, end} {
		if err := w.target.Zero(ctx, r.Offset, r.Length); err != nil {
			return err
		}
	}
	if err := w.target.Sync(); err != nil {
		return err
	}
	for _, r := range gaps {
		if err := w.target.Zero(ctx, r.Offset, r.Length); err != nil {
			return err
		}
	}
	return nil
}

// table makes the table of the image that of the disk, and returns its backup.
func (w writer) table(first []byte) ([]byte, error) {
	var kept []disk.Entry
	if w.kept != nil {
		kept = append(kept, *w.kept)
	}
	backup, err := disk.Fit(first, w.blocks.SectorSize, w.layout.Disk, kept...)
	if err != nil {
		return nil, fmt.Errorf("fitting the partition table: %w", err)
	}
	return backup, nil
}
