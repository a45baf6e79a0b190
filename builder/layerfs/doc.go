// Package layerfs writes squashfs 4.0 file systems in layers: what does not
// change is compressed once.
//
// # The flow
//
//	[Pack]      tar archive          → packed layer   compressed data and an index of it
//	[Open]      packed layer         → [Layer]
//	[Assemble]  layers, lowest first → file system
//
// A file's data has no addresses in it, and its inode says where it begins: so
// the data of a layer can lie anywhere. Assembling copies the layers' data
// behind each other and writes new inodes and folders, a few megabytes. A
// changed sysctl costs that and not the compression of everything.
//
// # Promises
//
//   - Equal archives give equal layers, whatever the number of processors, and
//     equal layers give equal file systems. No clock is read.
//   - Owners, modes, extended attributes, hard links and device nodes are those
//     of the archive. Nothing is unpacked, and root is not needed.
//   - The file system has the bytes of its own files only: a file that a higher
//     layer hides is an error, not dead data.
//   - Memory holds the index and a few blocks, never a file.
//
// # Not here
//
// Reading: the checks of package verify, and these tests, use other people's
// readers. Other compressors than zstd; tail packing (files smaller than a block
// share fragments, the ends of larger ones do not); indices of folders, without
// which a large one is searched from its start.
//
// The format is that of Linux, Documentation/filesystems/squashfs.rst and
// fs/squashfs/squashfs_fs.h; the description at dr-emann.github.io/squashfs has
// the details. Start with [Pack].
package layerfs
