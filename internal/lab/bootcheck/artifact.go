package bootcheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/qemu"
	"github.com/k8snode/k8snode/provision/cpio"
)

// userConfig is where the initramfs looks for a config that was appended to
// it, and espConfig the one on the EFI system partition.
const (
	userConfig = "/etc/k8snode/user.ign"
	espConfig  = "::k8snode/user.ign"
)

// partition finds one by its label.
func partition(d images.DiskInfo, label string) (images.Partition, error) {
	i := slices.IndexFunc(d.Partitions, func(p images.Partition) bool { return p.Label == label })
	if i < 0 {
		return images.Partition{}, fmt.Errorf("the manifest names no partition %s", label)
	}
	return d.Partitions[i], nil
}

// pxeKernel is the kernel, what a boot loader loads beside it, and its command
// line.
func (s *story) pxeKernel() (qemu.Kernel, error) {
	var paths []string
	for _, artifact := range []string{images.KernelFile, images.InitrdFile, images.RootFile} {
		path, err := s.opts.artifact(artifact)
		if err != nil {
			return qemu.Kernel{}, err
		}
		paths = append(paths, path)
	}
	config, err := liveConfig(name)
	if err != nil {
		return qemu.Kernel{}, err
	}
	joined := filepath.Join(s.opts.Dir, "initrd.img")
	out, err := os.OpenFile(joined, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return qemu.Kernel{}, err
	}
	err = qemu.WriteInitrd(out, paths[1], paths[2], images.InitramfsRoot, cpio.File{Path: userConfig, Mode: 0o600, Data: config})
	if err := errors.Join(err, out.Close()); err != nil {
		return qemu.Kernel{}, err
	}
	return qemu.Kernel{
		Path:    paths[0],
		Initrd:  joined,
		Cmdline: images.LiveCmdline(s.manifest.Root, "file:"+images.InitramfsRoot, s.manifest.Arguments()),
	}, nil
}

// flipByte changes one byte of a partition in an overlay over a disk image.
func flipByte(ctx context.Context, image, overlay string, d images.DiskInfo, label string, offset int64) error {
	p, err := partition(d, label)
	if err != nil {
		return err
	}
	// A whole sector of the largest kind: an overlay is written in sectors.
	const sector = 4096
	content := make([]byte, sector)
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.ReadAt(content, p.Start); err != nil {
		return err
	}
	content[offset] ^= 0xff
	pattern := overlay + ".sector"
	if err := os.WriteFile(pattern, content, 0o600); err != nil {
		return err
	}
	write := fmt.Sprintf("write -q -s %s %d %d", pattern, p.Start, sector)
	return run(ctx, "qemu-io", "-f", "qcow2", "-c", write, overlay)
}

// copyWithConfig makes a disk of that size from the disk image, with a config
// on its EFI system partition.
func copyWithConfig(ctx context.Context, image, target string, size int64, d images.DiskInfo, config string) error {
	esp, err := partition(d, images.LabelESP)
	if err != nil {
		return err
	}
	if err := run(ctx, "cp", "--sparse=always", image, target); err != nil {
		return err
	}
	if err := os.Truncate(target, size); err != nil {
		return err
	}
	inside := target + "@@" + strconv.FormatInt(esp.Start, 10)
	if err := run(ctx, "mmd", "-i", inside, "-D", "s", "::k8snode"); err != nil {
		return err
	}
	return run(ctx, "mcopy", "-i", inside, config, espConfig)
}

// run executes a program of the host; the error carries what it said.
func run(ctx context.Context, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("running \"%s %s\": %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
