// Package rootdev opens the root of an image in the initramfs, wherever its
// bytes are: /dev/mapper/root, read-only, every block checked by dm-verity.
//
// The flow of [Open]: find or fetch the bytes as the kernel command line says
// (a partition, a file on a CD or USB stick, a file of the initramfs, a URL);
// make a loop device of a file; check that the bytes are as many as the
// command line promises and that the superblock of the hash tree is one of
// ours ([ReadSuperblock]); let dmsetup map the device; read back the file
// system's metadata through the map.
//
// Promises:
//   - Nothing is believed but the root hash on the kernel command line. How the
//     bytes came does not matter, so neither https certificates nor the label
//     of a medium are trust: any changed byte is an input/output error at its
//     first use. Metadata is used here, so that a root that does not fit its
//     hash is found before anything is started from it.
//   - A download is bounded by the size that the command line implies, resumed
//     where it broke off, and kept in a tmpfs of its own below /run.
//   - An error says what to do, and leaves no /dev/mapper/root.
//
// A file of the initramfs may be removed once it is open: the loop device keeps
// its memory, and systemd empties the initramfs when it switches to the root.
//
// It does not mount the root. dmsetup does the mapping, and not ioctls of our
// own, because it is the one that udev's rules for the device mapper wait for.
package rootdev
