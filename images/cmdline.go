package images

import (
	"fmt"
	"strings"
)

// Words of the kernel command line that the initramfs reads.
const (
	// ArgRoot says where the root's bytes are: "partuuid:UUID", "label:LABEL"
	// for the file MediumRoot on that file system, "file:PATH" in the
	// initramfs, or an http or https URL.
	ArgRoot = "k8snode.root"
	// ArgVerity is "HASH:OFFSET", RootHash and Size of [RootInfo].
	ArgVerity = "k8snode.verity"
	// ArgState is where /var and the changes of /etc live, "disk" or "tmpfs".
	ArgState = "k8snode.state"
	// ArgDisk is the GUID of the table of the disk that holds the root.
	ArgDisk = "k8snode.disk"
	// ArgMedium is the label of the ISO 9660 file system that an installer was
	// started from, which has InstallerArea.
	ArgMedium = "k8snode.medium"
)

// MediumRoot is the path of the root on live.iso, InitramfsRoot where a network
// boot puts it in the initramfs.
const (
	MediumRoot    = "/live/rootfs.squashfs"
	InitramfsRoot = "/rootfs.squashfs"
)

// The embed area of installer.iso: a file of zeros of this size, in which the seed
// of a machine is written later. Its form is that of package internal/embedarea.
const (
	InstallerArea     = "/k8snode/area"
	InstallerAreaSize = 256 << 10
)

// InstallerArguments are the kernel arguments of the installer: run the agent, and
// show it on the screen and on the first serial port.
func InstallerArguments() []string {
	return []string{
		"rd.systemd.unit=k8snode-install.target", "rd.systemd.gpt_auto=0",
		"console=tty0", "console=ttyS0,115200n8",
	}
}

// InstallerCmdline is the kernel command line of installer.iso, whose file system
// has that label.
func InstallerCmdline(label string) string {
	return strings.Join(append(InstallerArguments(), ArgMedium+"="+label), " ")
}

// InstalledCmdline is the kernel command line of a disk image.
func InstalledCmdline(root RootInfo, disk DiskInfo, arguments []string) string {
	var uuid string
	for _, p := range disk.Partitions {
		if p.Label == LabelRoot {
			uuid = p.GUID
		}
	}
	return cmdline(root, "partuuid:"+strings.ToLower(uuid),
		append([]string{ArgDisk + "=" + strings.ToLower(disk.GUID)}, arguments...))
}

// LiveCmdline is the kernel command line of a boot that keeps nothing: from
// says where the root is, in the form of [ArgRoot].
func LiveCmdline(root RootInfo, from string, arguments []string) string {
	return cmdline(root, from, append([]string{ArgState + "=tmpfs"}, arguments...))
}

func cmdline(root RootInfo, from string, more []string) string {
	return strings.Join(append([]string{
		"root=/dev/mapper/root", "rootfstype=squashfs", "ro",
		"rd.systemd.gpt_auto=0", "systemd.gpt_auto=0",
		fmt.Sprintf("%s=%s:%d", ArgVerity, root.RootHash, root.Size),
		ArgRoot + "=" + from,
	}, more...), " ")
}
