package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
)

// write does everything that changes the disk at path.
func (in *installer) write(ctx context.Context, path string, plan api.InstallPlan, blocks images.BlockMap, layout Layout) error {
	in.step = "write"
	target, err := in.opts.Open(path)
	if err != nil {
		return err
	}
	kept, err := findKept(target, plan.Keep, blocks, layout)
	if err != nil {
		return errors.Join(err, target.Close())
	}
	for i, e := range kept {
		verb := "keeping"
		if i > 0 {
			verb = "making"
		}
		in.say("%s partition %s: %d MiB at %d MiB", verb, e.Label, e.Size/mib, e.Start/mib)
	}
	w := writer{installer: in, target: target, plan: plan, blocks: blocks, layout: layout, kept: kept}
	bootable, err := w.write(ctx)
	if err := errors.Join(err, target.Close()); err != nil {
		if bootable {
			return in.disarm(ctx, path, err)
		}
		return err
	}
	in.rereadTable(ctx, path)
	return nil
}

// A writer fills one disk.
type writer struct {
	*installer
	target disk.Target
	plan   api.InstallPlan
	blocks images.BlockMap
	layout Layout
	// kept is the partition that stays, and those around it.
	kept []disk.Entry
}

// write fills the disk; the head comes last. It reports whether that may have been
// written.
func (w writer) write(ctx context.Context) (bootable bool, err error) {
	w.say("erasing")
	if err := w.erase(ctx); err != nil {
		return false, fmt.Errorf("erasing disk: %w", err)
	}
	first, err := w.fetch(ctx)
	if err != nil {
		return false, err
	}
	stubRange, stub, err := stubAt(first, w.blocks, w.plan.Stub)
	if err != nil {
		return false, err
	}
	backup, err := w.table(first)
	if err != nil {
		return false, err
	}
	if _, err := w.target.WriteAt(first[headSize:], headSize); err != nil {
		return false, fmt.Errorf("writing disk: %w", err)
	}
	if _, err := w.target.WriteAt(stub, stubRange.Offset); err != nil {
		return false, fmt.Errorf("writing stub: %w", err)
	}
	if err := flush(w.target); err != nil {
		return false, err
	}

	w.step = "verify"
	v := verifier{target: w.target, blocks: w.blocks, first: first, stubRange: stubRange, stub: stub}
	v.progress = startProgress("verify", w.layout.Total, w.opts.Reports.Interval, w.opts.Console, w.reporter)
	err = v.verify(ctx)
	v.progress.stop()
	if err != nil {
		return false, err
	}

	if len(w.kept) == 0 {
		w.step = "table"
		if err := w.writeChecked(backup, w.backupAt()); err != nil {
			return false, err
		}
	}
	w.step = "head"
	if err := w.writeChecked(first[:headSize], 0); err != nil || len(w.kept) == 0 {
		return true, err
	}
	// The place of a partition that stays has been in the old backup until now.
	w.step = "table"
	return true, w.writeChecked(backup, w.backupAt())
}

// fetch copies the image but for its first block, which it returns.
func (w writer) fetch(ctx context.Context) ([]byte, error) {
	writing := startProgress("write", w.layout.Total, w.opts.Reports.Interval, w.opts.Console, w.reporter)
	defer writing.stop()
	f := &fetcher{
		client: w.opts.Client, url: w.plan.Image.DiskURL, blocks: w.blocks, target: w.target,
		policy: w.opts.Retry, tries: w.opts.BlockTries, spanLimit: w.opts.SpanLimit,
		progress: writing, log: w.opts.Log,
	}
	return f.fetch(ctx)
}

// writeChecked writes a few bytes, and reads them back from the medium.
func (w writer) writeChecked(data []byte, offset int64) error {
	if _, err := w.target.WriteAt(data, offset); err != nil {
		return fmt.Errorf("writing disk: %w", err)
	}
	if err := flush(w.target); err != nil {
		return err
	}
	got := make([]byte, len(data))
	if _, err := w.target.ReadAt(got, offset); err != nil {
		return fmt.Errorf("reading disk back: %w", err)
	}
	if !bytes.Equal(got, data) {
		return errBadDisk(offset)
	}
	return nil
}

func flush(target disk.Target) error {
	if err := target.Sync(); err != nil {
		return fmt.Errorf("writing disk: %w", err)
	}
	if err := target.DropCaches(); err != nil {
		return fmt.Errorf("dropping caches: %w", err)
	}
	return nil
}

// rereadTable is for whoever looks at the machine before it reboots; nothing
// here depends on it.
func (in *installer) rereadTable(ctx context.Context, path string) {
	target, err := in.opts.Open(path)
	if err == nil {
		err = errors.Join(target.RereadTable(), target.Close())
	}
	if err != nil {
		in.opts.Log.Warn("kernel keeps the old partition table", "error", err)
	}
	in.settle(ctx)
}

// disarm erases the front of a disk that could boot but shall not, because of
// cause.
func (in *installer) disarm(ctx context.Context, path string, cause error) error {
	ctx = context.WithoutCancel(ctx)
	target, err := in.opts.Open(path)
	if err == nil {
		err = errors.Join(target.Zero(ctx, 0, eraseSize), target.Sync(), target.Close())
	}
	if err != nil {
		return fmt.Errorf("%w (and erasing the disk again: %w)", cause, err)
	}
	return cause
}

// A verifier reads the disk back.
type verifier struct {
	target disk.Target
	blocks images.BlockMap
	// first is the first block as it shall be, with the disk's own table; its head is
	// not on the disk yet.
	first     []byte
	stubRange Range
	stub      []byte
	progress  *progress
}

func (v verifier) verify(ctx context.Context) error {
	buf := make([]byte, 0, mib)
	for i, b := range v.blocks.Blocks {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if int64(cap(buf)) < b.Length {
			buf = make([]byte, b.Length)
		}
		buf = buf[:b.Length]
		if _, err := v.target.ReadAt(buf, b.Offset); err != nil {
			return fmt.Errorf("reading disk back: %w", err)
		}
		// The image has zeros where the stub was written; it is compared below.
		v.maskStub(buf, b.Offset)
		if i == 0 {
			copy(buf, v.first[:headSize])
			if !bytes.Equal(buf, v.first) {
				return errBadDisk(b.Offset)
			}
		} else if digest(buf) != b.SHA256 {
			return errBadDisk(b.Offset)
		}
		v.progress.add(b.Length)
	}
	got := make([]byte, len(v.stub))
	if _, err := v.target.ReadAt(got, v.stubRange.Offset); err != nil {
		return fmt.Errorf("reading disk back: %w", err)
	}
	if !bytes.Equal(got, v.stub) {
		return errBadDisk(v.stubRange.Offset)
	}
	return nil
}

// maskStub clears the part of a block at offset that the stub covers.
func (v verifier) maskStub(block []byte, offset int64) {
	from := max(v.stubRange.Offset-offset, 0)
	to := min(v.stubRange.Offset+v.stubRange.Length-offset, int64(len(block)))
	if from < to {
		clear(block[from:to])
	}
}

func errBadDisk(offset int64) error {
	return fmt.Errorf("reading disk back: byte range at %d differs from what was written: the disk is defective", offset)
}
