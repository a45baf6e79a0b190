// Package verity appends a dm-verity hash tree to a file system image.
//
// [Append] writes what "veritysetup format --hash-offset=SIZE FILE FILE" would:
// behind the data a superblock, in the next block the top of the tree, below it
// level after level down to the hashes of the data. Whoever knows the root hash
// can then check every block of the data as it is read (Linux,
// Documentation/admin-guide/device-mapper/verity.rst; cryptsetup, "DMVerity").
//
// Equal data, salt and UUID give equal bytes. The data is read once, by all
// processors; the tree, 1/128 of it, is held in memory.
//
// Reading a tree back is not here: package verify has its own reader, and the
// kernel has one.
package verity
