// Package disk makes the raw disk image: a GPT, an EFI system partition with
// one boot program, an empty seed partition, and the root. It is the only
// importer of go-diskfs.
//
// # The flow
//
// [NewLayout] computes where everything is, purely. [Layout.Write] writes the
// sparse image. [Compress] turns it into independent zstd frames and the map
// of them that an installer works from.
//
// # Promises
//
//   - Every GUID is a UUIDv5 of the image's ID, every timestamp the epoch:
//     equal inputs give equal bytes.
//   - The image ends where its backup GPT does; an installer moves that to the
//     end of the real disk. Partitions that need the disk's real size are made
//     there on first boot, not here.
//
// # Not here
//
// BIOS boot and dm-verity.
package disk
