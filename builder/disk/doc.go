// Package disk makes the raw disk image: a GPT, GRUB for machines without
// UEFI, an EFI system partition with one boot program, an empty seed
// partition, and the root. It is the only importer of go-diskfs.
//
// # The flow
//
// [NewLayout] computes where everything is, purely. [Layout.Write] writes the
// sparse image. [Compress] turns it into independent zstd frames and the map
// of them that an installer works from. [Check], [Read] and [OpenESP] read an
// image back by the formats' specifications, without go-diskfs: what is
// checked is not what wrote it. [FAT], [NewFS] and [GRUBConfig] are what an
// ISO needs of the same.
//
// # Booting
//
// UEFI starts the unified kernel image in the EFI system partition. BIOS
// starts GRUB, from the first sector and the BIOS boot partition; its menu
// names the kernel and the initramfs by the sectors that they have inside that
// same file, so there is one copy of either. The file is in one piece of a new
// file system, which is read back to be sure. Nothing is run on a device.
//
// # Promises
//
//   - Every GUID and serial number is a UUIDv5 of the image's ID, every
//     timestamp the epoch: equal inputs give equal bytes.
//   - Sectors have 512 or 4096 bytes. Go-diskfs v1.9.4 writes both the table
//     and FAT32 for either; three of its faults are corrected (fatwrite.go).
//   - Files are streamed, by the kernel where it can.
//   - The image ends where its backup GPT does; an installer moves that to the
//     end of the real disk. Partitions that need the disk's real size are made
//     there on first boot, not here.
//
// # Not here
//
// The content of the root and its dm-verity tree, and Secure Boot.
package disk
