// Package rootfs makes the three big pieces of an image: the distribution's
// root, the initramfs, and the squashfs that a machine runs from.
//
// # The flow
//
// [Base] installs locked packages with mmdebstrap from a local archive and
// leaves a tar archive. [Initramfs] unpacks it, adds our dracut module with
// Ignition and the agent, and runs dracut in it. [Squashfs] lays the recipe's
// tree over the base archive and packs the result, without unpacking. [Grub]
// makes boot images in the unpacked root of the initramfs.
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
// Fetching (package builder/source) and the disk (package builder/disk).
package rootfs
