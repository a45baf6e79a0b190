package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/k8snode/k8snode/images"
)

// BakedKubectl takes kubectl out of the image, so that the test speaks to the
// cluster with the program that an operator finds on a node. It returns its
// path below dir.
func BakedKubectl(ctx context.Context, image string, m images.Manifest, dir string) (string, error) {
	const program = "usr/bin/kubectl"
	root := filepath.Join(dir, "root.squashfs")
	defer os.Remove(root)
	if err := readPartition(ctx, image, m, images.LabelRoot, root); err != nil {
		return "", fmt.Errorf("reading the root of image %s: %w", image, err)
	}
	out := filepath.Join(dir, "baked")
	cmd := exec.CommandContext(ctx, "unsquashfs", "-no-progress", "-no-xattrs", "-dest", out, root, program)
	if _, err := Run(cmd, "unsquashfs"); err != nil {
		return "", err
	}
	path := filepath.Join(out, program)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the image holds no /%s: %w", program, err)
	}
	return path, nil
}

// readPartition writes a partition of the compressed disk to a sparse file.
func readPartition(ctx context.Context, image string, m images.Manifest, label, target string) error {
	i := slices.IndexFunc(m.Disk.Partitions, func(p images.Partition) bool { return p.Label == label })
	if i < 0 {
		return fmt.Errorf("the manifest names no partition %s", label)
	}
	data, err := os.ReadFile(filepath.Join(image, images.BlockMapFile))
	if err != nil {
		return err
	}
	var blocks images.BlockMap
	if err := json.Unmarshal(data, &blocks); err != nil {
		return fmt.Errorf("reading the block map: %w", err)
	}
	stored, err := os.Open(filepath.Join(image, images.DiskFile))
	if err != nil {
		return err
	}
	defer stored.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = copyBlocks(ctx, out, stored, blocks.Blocks, m.Disk.Partitions[i])
	return errors.Join(err, out.Close())
}

// copyBlocks decompresses the blocks that touch a partition, checks them and
// writes the part of them that is in it.
func copyBlocks(ctx context.Context, out *os.File, stored io.ReaderAt, blocks []images.Block, p images.Partition) error {
	frames, err := zstd.NewReader(nil)
	if err != nil {
		return err
	}
	defer frames.Close()
	if err := out.Truncate(p.Size); err != nil {
		return err
	}
	for _, b := range blocks {
		from, to := max(b.Offset, p.Start), min(b.Offset+b.Length, p.Start+p.Size)
		if from >= to {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		frame := make([]byte, b.StoredLength)
		if _, err := stored.ReadAt(frame, b.StoredOffset); err != nil {
			return fmt.Errorf("reading the block at %d: %w", b.Offset, err)
		}
		raw, err := frames.DecodeAll(frame, make([]byte, 0, b.Length))
		if err != nil {
			return fmt.Errorf("decompressing the block at %d: %w", b.Offset, err)
		}
		if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != b.SHA256 || int64(len(raw)) != b.Length {
			return fmt.Errorf("the block at %d is not what the block map says", b.Offset)
		}
		if _, err := out.WriteAt(raw[from-b.Offset:to-b.Offset], from-p.Start); err != nil {
			return err
		}
	}
	return nil
}
