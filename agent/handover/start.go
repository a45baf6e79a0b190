package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/disk"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
)

// ErrNoImage is wrapped by the error of [Start] when there is nothing to start.
var ErrNoImage = errors.New("no image is on the disk of this machine")

// Options of [Start].
type Options struct {
	// Disk is the node's, if that is known.
	Disk *api.DiskSelection
	// Root is the folder that holds sys, dev and run; "" is the running system.
	Root string
	// Runner finds mount, umount and modprobe.
	Runner command.Runner
	// Now is the time.
	Now time.Time
	// Kexec loads a kernel and starts it; it returns only with an error. nil means the
	// running kernel's.
	Kexec func(k Kernel) error
	// Console gets plain lines; nil discards them.
	Console io.Writer
}

// An installed is a disk that holds an image.
type installed struct {
	disk disk.Disk
	esp  disk.Partition
}

// Start starts the image on the disk. When it returns nil, the machine is to be
// restarted, and does it then. It wraps [ErrNoImage] when there is none.
func Start(ctx context.Context, o Options) error {
	if o.Console == nil {
		o.Console = io.Discard
	}
	if o.Kexec == nil {
		o.Kexec = kexec
	}
	found, err := o.find()
	if err != nil {
		return err
	}
	var firmware error
	if _, err := os.Stat(o.path(efiDir)); err == nil {
		if firmware = o.bootNext(ctx, found); firmware == nil {
			fmt.Fprintf(o.Console, "k8snode: the next start is from %s\n", found.disk)
			return nil
		}
	}
	if firmware != nil {
		fmt.Fprintf(o.Console, "k8snode: %v\n", firmware)
	}
	fmt.Fprintf(o.Console, "k8snode: starting %s without the firmware\n", found.disk)
	if err := o.startKernel(ctx, found); err != nil {
		return errors.Join(firmware, fmt.Errorf("starting the image on %s: %w", found.disk.Path, err))
	}
	return nil
}

func (o Options) path(p string) string { return filepath.Join("/", o.Root, p) }

// find returns the disk of the node.
func (o Options) find() (installed, error) {
	disks, err := disk.List(o.Root)
	if err != nil {
		return installed{}, err
	}
	if o.Disk != nil {
		d, err := disk.Select(disks, *o.Disk)
		if err != nil {
			return installed{}, fmt.Errorf("%w: %w", ErrNoImage, err)
		}
		found, ok := o.image(d)
		if !ok {
			return installed{}, fmt.Errorf("%w: %s", ErrNoImage, d)
		}
		return found, nil
	}
	var all []installed
	var names []string
	for _, d := range disks {
		if disk.NotADisk(d) != "" || d.Size == 0 {
			continue
		}
		if found, ok := o.image(d); ok {
			all, names = append(all, found), append(names, d.Path)
		}
	}
	switch len(all) {
	case 0:
		return installed{}, ErrNoImage
	case 1:
		return all[0], nil
	}
	return installed{}, fmt.Errorf("several disks hold an image (%s), and only the server knows which is the node's", strings.Join(names, ", "))
}

// image reports whether a disk has the partitions of an image.
func (o Options) image(d disk.Disk) (installed, bool) {
	f, err := os.Open(o.path(d.Path))
	if err != nil {
		return installed{}, false
	}
	defer f.Close()
	t, err := disk.ReadTable(f, d.LogicalSector)
	if err != nil {
		return installed{}, false
	}
	for _, label := range []string{images.LabelSeed, images.LabelRoot} {
		if _, err := t.Labelled(label); err != nil {
			return installed{}, false
		}
	}
	esp, err := t.Labelled(images.LabelESP)
	return installed{d, esp}, err == nil
}
