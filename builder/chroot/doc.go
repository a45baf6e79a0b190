// Package chroot works on an unpacked root as if it were a running system:
// commands run in it, files go in and out, and in the end it says what changed.
//
// # The flow
//
//	Unpack   archives       → Root       files of a folder
//	Scan     Root           → Snapshot   every file, before
//	Run, Write, Read …                   what somebody wants of it
//	Scan     Root           → Snapshot   after
//	Compare  two Snapshots  → []Change   sorted by path
//
// # Promises
//
//   - A command sees its own mounts, processes and host name, and nothing of
//     the host's files. When it ends, all that it started ends.
//   - A path is resolved inside the root, links included: nothing is written
//     outside of it.
//   - Content is compared, not times: a file that was written anew with the
//     bytes that it had is no change.
//
// # Not here
//
// It is no sandbox: commands are root's, with the host's devices within reach
// of mknod. Making the root (package rootfs) and sealing it (package squashfs).
//
// Start with [Unpack].
package chroot
