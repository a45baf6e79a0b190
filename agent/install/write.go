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
	bootable, err := in.writeImage(ctx, target, plan, blocks, layout)
	if err := errors.Join(err, target.Close()); err != nil {
		if bootable {
			return in.disarm(ctx, path, err)
		}
		return err
	}
	// sgdisk opens the disk itself, and asks the kernel to read the new table:
	// both need the disk to be closed here.
	in.step = "table"
	if err := in.opts.Runner.Run(ctx, nil, "sgdisk", moveBackupTableArgs(path)...); err != nil {
		return in.disarm(ctx, path, fmt.Errorf("moving backup partition table: %w", err))
	}
	in.rereadTable(ctx, path)
	return nil
}

// writeImage fills the disk; the head comes last. It reports whether the head
// may have been written.
func (in *installer) writeImage(ctx context.Context, target disk.Target, plan api.InstallPlan, blocks images.BlockMap, layout Layout) (bootable bool, err error) {
	in.say("erasing")
	for i, r := range layout.Zero {
		if err := target.Zero(ctx, r.Offset, r.Length); err != nil {
			return false, fmt.Errorf("erasing disk: %w", err)
		}
		if i == 1 { // both ends: from now on it does not boot
			if err := target.Sync(); err != nil {
				return false, fmt.Errorf("erasing disk: %w", err)
			}
		}
	}

	writing := startProgress("write", layout.Total, in.opts.Reports.Interval, in.opts.Console, in.reporter)
	f := &fetcher{
		client: in.opts.Client, url: plan.Image.DiskURL, blocks: blocks, target: target,
		policy: in.opts.Retry, tries: in.opts.BlockTries, spanLimit: in.opts.SpanLimit,
		progress: writing, log: in.opts.Log,
	}
	first, err := f.fetch(ctx)
	writing.stop()
	if err != nil {
		return false, err
	}

	stubRange, stub, err := stubAt(first, blocks, plan.Stub)
	if err != nil {
		return false, err
	}
	if _, err := target.WriteAt(first[headSize:], headSize); err != nil {
		return false, fmt.Errorf("writing disk: %w", err)
	}
	if _, err := target.WriteAt(stub, stubRange.Offset); err != nil {
		return false, fmt.Errorf("writing stub: %w", err)
	}
	if err := flush(target); err != nil {
		return false, err
	}

	in.step = "verify"
	v := verifier{target: target, blocks: blocks, head: first[:headSize], stubRange: stubRange, stub: stub}
	v.progress = startProgress("verify", layout.Total, in.opts.Reports.Interval, in.opts.Console, in.reporter)
	err = v.verify(ctx)
	v.progress.stop()
	if err != nil {
		return false, err
	}

	in.step = "head"
	if _, err := target.WriteAt(first[:headSize], 0); err != nil {
		return true, fmt.Errorf("writing disk: %w", err)
	}
	if err := flush(target); err != nil {
		return true, err
	}
	head := make([]byte, headSize)
	if _, err := target.ReadAt(head, 0); err != nil {
		return true, fmt.Errorf("reading disk back: %w", err)
	}
	if !bytes.Equal(head, first[:headSize]) {
		return true, errBadDisk(0)
	}
	return true, nil
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
	// head is not on the disk yet.
	head      []byte
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
		if i == 0 {
			copy(buf, v.head)
		}
		// The image has zeros where the stub was written; it is compared below.
		v.maskStub(buf, b.Offset)
		if digest(buf) != b.SHA256 {
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
