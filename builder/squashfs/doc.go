// Package squashfs writes squashfs 4.0 file systems in two steps, so that a
// change of one file does not compress all others again.
//
// # The flow
//
// [FromTar] and [FromTree] list the entries of a layer. [Pack] compresses a
// layer once, into one file that a cache can keep: a packed layer. [Open]
// opens it again, and [Assemble] lays packed layers over each other: it copies
// their data as it is and writes new metadata, which is small.
//
// # Promises
//
//   - Equal entries give equal bytes, whatever the number of processors; every
//     timestamp of the file system is the given epoch.
//   - A later layer replaces what an earlier one has at the same path, by the
//     usual rules of unpacking: a folder that is already there keeps its owner
//     and mode. [Beneath] is the filter that keeps replaced files out of an
//     earlier layer; Assemble refuses to carry the data of a file that nobody
//     can read.
//   - Memory is bounded by the block size and the number of jobs, not by the
//     size of files.
//
// # The format
//
// All that is written is little endian and described in Linux,
// Documentation/filesystems/squashfs.rst, and more exactly in squashfs-tools-ng,
// doc/format.adoc ("the format description" in comments here). What the kernel
// checks when it mounts is in fs/squashfs/super.c and the table readers beside
// it. Compression is zstd; there are no compressor options in the file system.
//
// # Not here
//
// Reading a file system: the tests leave that to the kernel and to unsquashfs.
// Nothing is run and nothing is mounted. The hash tree is package verity's.
package squashfs
