package butane

import (
	agentnode "github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/provision/api"
)

// DiskDevice is a link that udev makes in the initramfs, to the disk that the
// running image was started from.
const DiskDevice = "/dev/k8snode/disk"

// Labels of the partitions that Ignition makes. They repeat those of package
// images, which the boot side does not import.
const (
	LabelState      = "k8snode-state"
	LabelEtcd       = "k8snode-etcd"
	LabelContainers = "k8snode-containers"
)

// Numbers of these partitions; the image has 1 to 4. They are explicit because
// Ignition 2.20 to 2.26 fail with the number 0 (coreos/ignition#2234).
const (
	numberState      = 5
	numberEtcd       = 6
	numberContainers = 7
)

const (
	// stateMiB holds /var without containers, and what changed of /etc.
	stateMiB = 4096
	// etcdSpareMiB is etcd's room beyond its quota, for the write-ahead log
	// and snapshots.
	etcdSpareMiB = 2048
)

// containersDir has a folder for each runtime. The image mounts them at
// /var/lib/containerd and /var/lib/docker (var-lib-containerd.mount,
// var-lib-docker.mount), so that both are under project quota.
const containersDir = "/var/lib/containers"

// EtcdPartitionMiB is the size of the partition with the data of etcd on the disk of
// the system of a node; 0 when there is none.
func EtcdPartitionMiB(c cluster.Cluster, n cluster.Node) int64 {
	if n.Role != cluster.ControlPlane || n.EtcdDisk != nil {
		return 0
	}
	return int64(etcdMiB(c.Spec))
}

// PartitionsAroundEtcd are the others that a node's config expects there.
func PartitionsAroundEtcd() []api.NewPartition {
	return []api.NewPartition{
		{Number: numberState, Label: LabelState, SizeMiB: stateMiB},
		{Number: numberContainers, Label: LabelContainers},
	}
}

func etcdMiB(spec cluster.Spec) int {
	size := 0
	for _, i := range instances(spec) {
		size += i.quotaGiB*1024 + etcdSpareMiB
	}
	return size
}

// disks adds partitions behind those of the image. With etcd's default quota
// and an image of 3.2 GiB, a disk of 24 GiB leaves 8.8 GiB for containers.
func disks(n node) []Disk {
	partitions := []Partition{{Label: LabelState, Number: numberState, SizeMiB: new(stateMiB), WipePartitionEntry: true}}
	if n.KeepEtcd && n.EtcdDisk == nil {
		// They are where the installer left them. Without a size, a start and a wish to
		// be wiped, Ignition takes them as they are.
		return []Disk{{Device: DiskDevice, Partitions: []Partition{
			{Label: LabelState, Number: numberState}, {Label: LabelEtcd, Number: numberEtcd}, {Label: LabelContainers, Number: numberContainers},
		}}}
	}
	if n.controlPlane() && n.EtcdDisk == nil {
		partitions = append(partitions, Partition{Label: LabelEtcd, Number: numberEtcd, SizeMiB: new(etcdMiB(n.spec)), WipePartitionEntry: true})
	}
	partitions = append(partitions, Partition{Label: LabelContainers, Number: numberContainers, SizeMiB: new(0), WipePartitionEntry: true})
	all := []Disk{{Device: DiskDevice, Partitions: partitions}}
	if n.EtcdDisk != nil {
		// The table is made anew, too: the disk may be another system's.
		all = append(all, Disk{
			Device: etcdDevice(*n.EtcdDisk), WipeTable: !n.KeepEtcd,
			Partitions: []Partition{{Label: LabelEtcd, Number: 1, SizeMiB: new(0), WipePartitionEntry: !n.KeepEtcd}},
		})
	}
	return all
}

// etcdDevice is a path: Ignition knows disks by nothing else.
func etcdDevice(d cluster.EtcdDisk) string {
	switch {
	case d.Serial != "":
		return agentnode.SerialLink(d.Serial)
	case d.WWN != "":
		return agentnode.WWNLink(d.WWN)
	}
	return d.Device
}

// filesystems are made anew: Ignition runs once per installation, and a new root
// means new state. A file system of an earlier installation would be found at
// the same place of the disk, with an etcd member that its cluster may have
// removed since; it is kept only where somebody says that it was not.
func filesystems(n node) []Filesystem {
	// The initramfs mounts the state itself, at /var, on every boot; so it has
	// no path here.
	all := []Filesystem{{
		Device:         "/dev/disk/by-partlabel/" + LabelState,
		Format:         "xfs",
		Label:          "state",
		WipeFilesystem: true,
	}}
	if n.controlPlane() {
		all = append(all, Filesystem{
			Device:         "/dev/disk/by-partlabel/" + LabelEtcd,
			Format:         "xfs",
			Label:          "etcd",
			WipeFilesystem: !n.KeepEtcd,
			Path:           agentnode.EtcdMount,
			WithMountUnit:  true,
		})
	}
	return append(all, Filesystem{
		Device:         "/dev/disk/by-partlabel/" + LabelContainers,
		Format:         "xfs",
		Label:          "containers",
		WipeFilesystem: true,
		Path:           containersDir,
		MountOptions:   []string{"prjquota"},
		WithMountUnit:  true,
	})
}

// directories are those whose mode or owner is not the default of Ignition.
func directories(n node) []Directory {
	if !n.controlPlane() {
		return nil
	}
	return []Directory{
		{Path: agentnode.EtcdPKIDir, Mode: 0o750, User: &Owner{0}, Group: &Owner{EtcdID}},
		{Path: agentnode.PKIDir, Mode: 0o700},
		{Path: agentnode.EtcdMount, Mode: 0o700, User: &Owner{EtcdID}, Group: &Owner{EtcdID}},
	}
}
