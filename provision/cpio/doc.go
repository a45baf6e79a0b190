// Package cpio writes the one archive that the Linux kernel reads: newc, the
// "New ASCII Format" of Documentation/driver-api/early-userspace/buffer-format.rst.
//
// [Archive] turns files into bytes that may stand anywhere in an initramfs
// that begins on a multiple of four: the archive starts with its first header,
// holds the folders above each file before the file, ends with a trailer, and
// is padded with zeros to 512 bytes, so that what follows it is aligned too.
//
// Promises: the same files give the same bytes; the time of every entry is 0
// and its owner is root; a path cannot leave the root.
//
// [WriteLarge] does the same for one file that is too large for memory.
//
// It writes regular files only, knows no links or devices, and does not read
// archives.
//
// Start with [Archive].
package cpio
