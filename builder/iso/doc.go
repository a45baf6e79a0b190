// Package iso makes the live ISO and that of the installer: one file that starts
// a machine from a CD, a USB stick or a virtual disk, with BIOS or UEFI.
//
// # The flow
//
// [Write] puts the kernel, the initramfs and the root into an ISO 9660 file
// system with xorriso, and GRUB beside them. [Open] reads an ISO back and
// [Check] looks at what firmware relies on; neither needs a program of the
// host. The installer has no root; it has an embed area, a file of zeros at one
// place ([Image.Area]), in which something is written later without making the
// ISO anew.
//
// # How it starts
//
//	CD, BIOS     El Torito, GRUB's core image         ┐
//	disk, BIOS   boot sector, the same core image     ├ /boot/grub/grub.cfg
//	CD, UEFI     El Torito, the FAT at the end        │ of the ISO
//	disk, UEFI   GPT, the same FAT                    ┘
//
// The FAT has GRUB and two lines of configuration, by which it finds the ISO
// with its volume label: there is one kernel, one initramfs and one menu.
//
// # Promises
//
//   - Equal inputs give equal bytes, in any folder, time zone and umask: every
//     date is the epoch, every identifier comes from the image's ID, and the
//     order of the files is fixed.
//   - Files are streamed; none is held in memory but GRUB's.
//
// # Not here
//
// The programs of GRUB, which package rootfs makes, and an Ignition config: a
// machine that is started from an ISO gets it from its hypervisor or from
// ignition.config.url.
package iso
