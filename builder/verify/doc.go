// Package verify opens a finished output folder again and checks what it
// promises, without mounting anything and without trusting who made it.
//
// # The flow
//
// [Verify] reads the manifest, whose recipe is the oracle: nothing that a
// recipe says is listed here a second time. Then, side by side:
//
//	every file      digest and size, against SHA256SUMS and the manifest
//	disk.raw        both GPTs, the boot code, the EFI system partition and in it
//	                the UKI and GRUB's menu, no byte where there should be none
//	disk.raw.zst    every block of the map, against its digest and disk.raw
//	live.iso        what firmware starts, GRUB's menu
//	the root        its dm-verity tree; every file is read with unsquashfs, not
//	                with code that wrote it: the recipe's files, units, kernel
//	                modules, settings and users, and what must not be there
//	the initramfs   its kernel modules, Ignition, the agent, keys of images
//	the signature   whose it is, when keys are given
//	all of them     one kernel, one initramfs, one root: the same bytes
//	the SBOM        the inputs of the manifest, and the packages of the root
//
// # Promises
//
//   - All findings at once, in one order; each says what is wrong with which
//     file, and what helps.
//   - Files are streamed, some at a time.
//
// # Not here
//
// Trust: who can replace the whole folder can also replace its manifest. [Options]
// may hold what a caller knows to be true, and keys of those whom it believes.
package verify
