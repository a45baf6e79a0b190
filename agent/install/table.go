package install

import (
	"context"
	"fmt"

	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
)

// findKept finds the partition that stays, and room for the others, or says why it
// cannot; nothing was written then. The one that stays is the first.
func findKept(target disk.Target, keep *api.KeepPartition, blocks images.BlockMap, layout Layout) ([]disk.Entry, error) {
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
	others, err := Around(e, keep.Others, blocks.SectorSize, blocks.Size, layout.Disk)
	return append([]disk.Entry{e}, others...), err
}

// A place is free for partitions, in bytes; both ends are at a MiB.
type place struct{ start, end int64 }

func (p place) size() int64 { return p.end - p.start }

// Around finds room for partitions around one that stays: each in the smallest place that
// has enough, the one without a size in what is then the largest.
func Around(kept disk.Entry, others []api.NewPartition, sector int, image, size int64) ([]disk.Entry, error) {
	up := func(n int64) int64 { return (n + mib - 1) / mib * mib }
	places := []place{{up(image), kept.Start / mib * mib}, {up(kept.Start + kept.Size), (size - eraseSize) / mib * mib}}
	var made []disk.Entry
	take := func(p api.NewPartition, want int64) error {
		at := -1
		for i, free := range places {
			if free.size() < max(want, mib) {
				continue
			}
			if at < 0 || (want > 0) == (free.size() < places[at].size()) {
				at = i
			}
		}
		if at < 0 {
			return fmt.Errorf("making partition %q: there is no room for it around the partition %q, which stays", p.Label, kept.Label)
		}
		if want == 0 {
			want = places[at].size()
		}
		e, err := disk.NewEntry(p.Number, p.Label, places[at].start, want, sector, kept.Seed())
		if err != nil {
			return err
		}
		places[at].start += want
		made = append(made, e)
		return nil
	}
	for _, p := range others {
		if p.SizeMiB > 0 {
			if err := take(p, p.SizeMiB*mib); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range others {
		if p.SizeMiB == 0 {
			if err := take(p, 0); err != nil {
				return nil, err
			}
		}
	}
	return made, nil
}

// backupAt is where the backup table begins.
func (w writer) backupAt() int64 { return w.layout.Disk - disk.BackupSize(w.blocks.SectorSize) }

// erase makes the disk one that does not boot, and zeroes the gaps of the image. The
// place of a partition that stays is always in a table: in the backup, before the
// primary one is gone.
func (w writer) erase(ctx context.Context) error {
	front, end, gaps := w.layout.Zero[0], w.layout.Zero[1], w.layout.Zero[2:]
	if len(w.kept) > 0 {
		if err := w.writeChecked(w.kept[0].Backup(w.blocks.SectorSize, w.layout.Disk), w.backupAt()); err != nil {
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
	backup, err := disk.Fit(first, w.blocks.SectorSize, w.layout.Disk, w.kept...)
	if err != nil {
		return nil, fmt.Errorf("fitting the partition table: %w", err)
	}
	return backup, nil
}
