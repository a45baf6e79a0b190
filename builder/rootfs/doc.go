// Package rootfs makes what an image has of its distribution: the root's packages,
// the initramfs, and GRUB's boot images.
//
// # The flow
//
// [Base] installs locked packages with mmdebstrap from a local archive and
// leaves a tar archive. [Initramfs] unpacks it, adds our dracut module with
// Ignition and the agent, and runs dracut in it; [Grub] makes boot images there,
// too. [Keep] says which files of the archive get into the root that machines
// run from, which package squashfs writes without unpacking it.
//
// # Promises
//
//   - Packages come from the files that the lock pins, through a local
//     archive: no socket is opened while building.
//   - Mounts are made in private mount namespaces; none appears on the host.
//   - No service starts, and nothing of the host (name, keys, machine ID,
//     resolver) is in the result: [Keep] names what is dropped.
//
// # Not here
//
// Fetching (package builder/source), the root's file system (builder/squashfs)
// and the disk (builder/disk).
package rootfs
