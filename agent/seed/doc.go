// Package seed decides in the initramfs whether a boot is a machine's first
// one, finds the config for it, and makes sure that a first boot is done
// whole, once.
//
// # The seed
//
// A machine that was installed over the network finds its config in a
// partition without a file system, so that the installer mounts nothing. It
// begins with a header: the magic "K8SSEED1", the length of the payload
// (uint32, big endian) and its SHA-256; the payload follows. Zeros mean no
// seed; anything that is not whole is [ErrCorrupt], never "no seed": a node
// that lost its identity must hold, not look alive. [Encode] makes a seed,
// [Read] and [Erase] use it.
//
// # The flow
//
// [Prepare] looks at the seed, at the marker on the state partition and at the
// other sources (a file in the initramfs, one on the ESP, QEMU's fw_cfg, a URL
// on the kernel command line); [Decide], which is pure, says first boot, later
// boot or hold. On a first boot the config is left for Ignition, whose units
// run because [FirstBootFile] exists. When its last stage has succeeded,
// [Finish] syncs every file system, writes the marker and erases the source,
// in that order and each on the medium before the next. Then the system is
// started.
//
// # A power cut
//
// At each point, what the next boot finds and does:
//
//   - before Ignition: the source, no marker: a first boot.
//   - while partitions are made: the source. If the state partition exists,
//     what is at its place may be an earlier installation's file system, even
//     with a marker; that names the GUID of another partition and does not
//     count ([StateUnfinished]). A first boot.
//   - while the state file system is made: mkfs.xfs clears its flag "in
//     progress" last, so half of one is no file system ([StateBlank]). A first
//     boot.
//   - while files are written, and until the marker is on the medium: the
//     source, no marker: a first boot, from the start. Configs make the state
//     file system anew, and the initramfs begins a first boot with the image's
//     own /etc in any case, so nothing of the first try is left.
//   - after the marker, before or while the seed is erased: the marker with
//     the seed's digest, or with a seed that is corrupt, because its header is
//     erased last. The seed is erased (again); a later boot. A whole seed with
//     another digest is a new installation: a first boot.
//   - after the marker, while the config on the ESP is removed: the file is
//     first renamed, then overwritten, then unlinked. A file with the marker's
//     digest, or under the second name, is removed; a later boot.
//   - after that: the marker alone: a later boot.
//
// So a source is erased only after its marker is durable, and a machine that
// has neither says that its first boot was not finished. A state partition
// that has a whole file system but cannot be mounted makes the machine hold
// unless a seed or the ESP asks for a first boot: the other sources are there
// on every boot and must not erase a node because of one bad read.
//
// A live system with its state in memory ([cmdline.Tmpfs]) has no marker:
// every boot is a first boot, and no source is erased. It looks for no seed
// and no ESP on disks that it was not started from.
//
// Erasing does not reach the spare cells of a flash disk; what protects a stub
// is that the server burns its token after the first delivery.
package seed
