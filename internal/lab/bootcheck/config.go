package bootcheck

import (
	"fmt"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/ignition/render"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/guestconfig"
	"github.com/k8snode/k8snode/provision/api"
)

// hostname is the config of a machine's name.
func hostname(name string) guestconfig.File {
	return guestconfig.NewFile("/etc/hostname", 0o644, name+"\n")
}

// liveConfig is for a boot that keeps nothing.
func liveConfig(name string) ([]byte, error) {
	return guestconfig.Answering(lab.QEMUPort).With(hostname(name)).Marshal()
}

// firstPartition is the number of the first one that Ignition makes.
const firstPartition = 5

// stateMiB is enough for /var without containers.
const stateMiB = 2048

// diskConfig is for an installed disk: the partitions of a worker, and nothing
// of Kubernetes.
func diskConfig(name string) ([]byte, error) {
	const byLabel = "/dev/disk/by-partlabel/"
	text, err := butane.Document{
		Variant: butane.Variant,
		Version: butane.Version,
		Storage: butane.Storage{
			Disks: []butane.Disk{{Device: butane.DiskDevice, Partitions: []butane.Partition{
				{Label: images.LabelState, Number: firstPartition, SizeMiB: new(stateMiB), WipePartitionEntry: true},
				{Label: images.LabelContainers, Number: firstPartition + 1, SizeMiB: new(0), WipePartitionEntry: true},
			}}},
			Filesystems: []butane.Filesystem{
				{Device: byLabel + images.LabelState, Format: "xfs", Label: "state", WipeFilesystem: true},
				{
					Device: byLabel + images.LabelContainers, Format: "xfs", Label: "containers", WipeFilesystem: true,
					Path: containersDir, MountOptions: []string{"prjquota"}, WithMountUnit: true,
				},
			},
		},
	}.Marshal()
	if err != nil {
		return nil, err
	}
	disk, err := render.Render("disk.bu", text)
	if err != nil {
		return nil, fmt.Errorf("rendering the config of the disk: %w", err)
	}
	more, err := liveConfig(name)
	if err != nil {
		return nil, err
	}
	return guestconfig.Merge(disk.Bytes(), more)
}

// nodeConfig is a rendered node that answers to the lab. It has no server to
// report to: without a usable report configuration it does not wait for one.
func nodeConfig(rendered []byte) ([]byte, error) {
	more, err := guestconfig.Answering(lab.QEMUPort).With(guestconfig.NewFile(api.ReportPath, 0o600, "{}\n")).Marshal()
	if err != nil {
		return nil, err
	}
	return guestconfig.Merge(rendered, more)
}
