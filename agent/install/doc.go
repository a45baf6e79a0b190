// Package install writes an image to the disk of a machine that was booted
// over the network.
//
// The flow of [Run]: fetch the plan, check who signed the image, select one
// disk, fetch and check the block map, compute the [Layout] (pure), then touch the disk:
//
//  1. zero the first and the last MiB, and the gaps between blocks;
//  2. fetch, check and write every block; the first one is kept in memory, and
//     its partition table made one of this disk;
//  3. write the rest of the first block and the stub;
//  4. drop the caches, read everything back and compare digests;
//  5. write the backup of the table to the end of the disk;
//  6. write the first 4 KiB, which make the disk bootable.
//
// Promises:
//   - Nothing is written before disk, sizes and block map are known to fit.
//   - A disk that could boot holds the whole image and the stub, and was read
//     back: a power cut at any moment leaves either that or a disk without a
//     partition table. When the last step fails, the table is erased again.
//   - A partition that the plan keeps is in a table of the disk at any moment, so
//     that an install which is interrupted keeps it too when it is begun anew.
//     Then step 5 comes last, and the partitions that Ignition makes otherwise are
//     made here, around the one that stays.
//   - When the plan, or the initramfs, has keys, one of them has signed the
//     manifest with the image's ID and block map: of each of the two, if both
//     have some.
//   - Blocks come over plain HTTP; each is checked against the block map, and
//     the block map against the plan, which came over TLS.
//   - A lost connection costs the blocks in flight: the next request begins at
//     the first missing block. A block that is wrong several times ends the
//     install.
//   - Reports never hold up or fail the install.
//
// It does not partition, reboot or configure. Start with [Run].
package install
