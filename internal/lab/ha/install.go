package ha

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab/kube"
	"github.com/k8snode/k8snode/provision/cpio"
)

// diskGiB is the size of every disk; the files are sparse.
const diskGiB = 40

func (c *Cluster) disk(name string) string { return c.path(filepath.Join(name, "disk.raw")) }

// etcdDisk and share are the paths of further disks.
func (c *Cluster) etcdDisk(name string) string { return c.path(filepath.Join(name, "etcd.raw")) }
func (c *Cluster) share(name string) string    { return c.path(filepath.Join(name, "share.raw")) }

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
	archive, err := overlay(cpio.File{Path: configFile, Mode: 0o600, Data: config})
	if err != nil {
		return err
	}
	return writeInitrd(c.initrd(name), filepath.Join(c.opts.Image, images.InitrdFile), archive)
}

// moreDisks makes the disks that a machine has besides that of its system.
func (c *Cluster) moreDisks(ctx context.Context, name string) ([]string, error) {
	var disks []string
	if c.opts.EtcdDiskGiB > 0 {
		if err := empty(c.etcdDisk(name), c.opts.EtcdDiskGiB); err != nil {
			return nil, err
		}
		disks = append(disks, c.etcdDisk(name))
	}
	if c.opts.ShareGiB > 0 {
		share := c.share(name)
		if err := empty(share, c.opts.ShareGiB); err != nil {
			return nil, err
		}
		if _, err := kube.Run(exec.CommandContext(ctx, "mkfs.ext4", "-q", share), "mkfs.ext4"); err != nil {
			return nil, err
		}
		disks = append(disks, share)
	}
	return disks, nil
}

// empty makes a disk that holds nothing, in place of one that did. The file stays
// the same: a machine has it in its mount namespace.
func empty(path string, gib int) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(file.Truncate(int64(gib)<<30), file.Close())
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
		if c.opts.EtcdDiskGiB > 0 {
			if err := empty(c.etcdDisk(name), c.opts.EtcdDiskGiB); err != nil {
				return fmt.Errorf("wiping machine %s: %w", name, err)
			}
		}
		if err := c.install(ctx, name); err != nil {
			return fmt.Errorf("installing machine %s: %w", name, err)
		}
	}
	return nil
}

// Rewrite changes the cluster document, and gives every machine the config that
// k8snode renders of it with the flags. A machine takes it with its next install.
func (c *Cluster) Rewrite(ctx context.Context, change func([]byte) []byte, flags ...string) error {
	document, err := os.ReadFile(c.path("cluster.yaml"))
	if err != nil {
		return err
	}
	document = change(document)
	spec, err := cluster.Parse("cluster.yaml", document)
	if err != nil {
		return err
	}
	c.Spec = spec
	if err := os.WriteFile(c.path("cluster.yaml"), document, 0o600); err != nil {
		return err
	}
	if err := os.RemoveAll(c.path("rewritten")); err != nil {
		return err
	}
	if err := c.k8snode(ctx, c.withSecrets(append([]string{"render", "--image", c.opts.Image, "--out", c.path("rewritten")}, flags...)...)...); err != nil {
		return err
	}
	for _, name := range c.Nodes() {
		if err := c.configure(name, "rewritten"); err != nil {
			return fmt.Errorf("configuring machine %s: %w", name, err)
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
	if err := c.installAround(ctx, name); err != nil {
		return fmt.Errorf("installing machine %s: %w", name, err)
	}
	return nil
}

// installAround writes the image, and leaves the partitions behind it in the table, as
// the installer does.
func (c *Cluster) installAround(ctx context.Context, name string) error {
	sector, size := c.manifest.Disk.SectorSize, int64(diskGiB<<30)
	file, err := os.OpenFile(c.disk(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	var kept []disk.Entry
	for _, label := range []string{images.LabelState, images.LabelEtcd, images.LabelContainers} {
		e, err := disk.FindEntry(file, sector, size, label)
		if err != nil {
			return err
		}
		kept = append(kept, e)
	}
	if err := c.install(ctx, name); err != nil {
		return err
	}
	head := make([]byte, disk.GPTSize(sector))
	if _, err := file.ReadAt(head, 0); err != nil {
		return err
	}
	backup, err := disk.Fit(head, sector, size, kept...)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(head, 0)
	_, errBackup := file.WriteAt(backup, size-int64(len(backup)))
	return errors.Join(err, errBackup)
}
