// Package handover starts the image on a machine's disk when the firmware would start
// something else first: the medium of an installer that stays in its drive.
//
// # The flow
//
// [Start] finds the disk, then takes the first way that works:
//
//   - With UEFI, it writes a boot option for the disk's EFI system partition and makes
//     it the one for the next start only (BootNext, UEFI 2.10 section 3.3). The order
//     of the firmware is not changed. The caller restarts the machine.
//   - Otherwise it reads kernel, initramfs and command line from the boot program of
//     the disk, which has all three, and has the running kernel start them (kexec).
//
// The description of the boot option says when it was written. When that was minutes
// ago, the firmware has not done what it was told, and the second way is taken: a
// machine does not restart for ever.
//
// # Promises
//
//   - Nothing on the disk is changed, and of the firmware's variables only BootNext and
//     one boot option, which is used again.
//   - The disk is the node's when the server has said which that is; otherwise the only
//     one that holds an image, and with several there is none.
//
// # Limits
//
// Where Secure Boot locks the kernel, it starts no kernel whose signature it cannot
// check: then there is only the first way.
package handover
