package ha

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab/kube"
)

// diskGiB is the size of every disk; the files are sparse.
const diskGiB = 40

func (c *Cluster) disk(name string) string   { return c.path(filepath.Join(name, "disk.raw")) }
func (c *Cluster) initrd(name string) string { return c.path(filepath.Join(name, "initrd.img")) }

// configure gives a machine a config of a folder that "k8snode render" wrote.
func (c *Cluster) configure(name, rendered string) error {
	ign, err := os.ReadFile(filepath.Join(c.path(rendered), name+".ign"))
	if err != nil {
		return err
	}
	config, err := nodeConfig(ign)
	if err != nil {
		return err
	}
	archive, err := overlay(config)
	if err != nil {
		return err
	}
	return writeInitrd(c.initrd(name), filepath.Join(c.opts.Image, images.InitrdFile), archive)
}

// install writes the image to the beginning of a machine's disk, as the
// installer does: what is behind it stays.
func (c *Cluster) install(ctx context.Context, name string) error {
	disk, image := c.disk(name), filepath.Join(c.opts.Image, images.RawFile)
	if _, err := os.Stat(disk); err == nil {
		hole := exec.CommandContext(ctx, "fallocate", "--punch-hole", "--offset", "0", "--length", strconv.FormatInt(c.manifest.Disk.Size, 10), disk)
		if _, err := kube.Run(hole, "fallocate"); err != nil {
			return err
		}
	}
	dd := exec.CommandContext(ctx, "dd", "if="+image, "of="+disk, "bs=1M", "conv=notrunc,sparse", "status=none")
	if _, err := kube.Run(dd, "dd"); err != nil {
		return err
	}
	return os.Truncate(disk, diskGiB<<30)
}

// Wipe pulls the plug, puts an empty disk into the machine and installs the
// image on it.
func (c *Cluster) Wipe(ctx context.Context, names ...string) error {
	if err := c.PowerOff(ctx, names...); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Remove(c.disk(name)); err != nil {
			return fmt.Errorf("wiping machine %s: %w", name, err)
		}
		if err := c.install(ctx, name); err != nil {
			return fmt.Errorf("installing machine %s: %w", name, err)
		}
	}
	return nil
}

// ReinstallKeepingEtcd pulls the plug and installs the image again over what the
// disk holds, with a config that keeps the data of etcd.
func (c *Cluster) ReinstallKeepingEtcd(ctx context.Context, name string) error {
	if err := c.PowerOff(ctx, name); err != nil {
		return err
	}
	if err := c.k8snode(ctx, c.withSecrets("render", name, "--image", c.opts.Image, "--out", c.path("kept"), "--keep-etcd")...); err != nil {
		return err
	}
	if err := c.configure(name, "kept"); err != nil {
		return fmt.Errorf("configuring machine %s: %w", name, err)
	}
	if err := c.install(ctx, name); err != nil {
		return fmt.Errorf("installing machine %s: %w", name, err)
	}
	return nil
}
