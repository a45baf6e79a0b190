// Package disk knows the disks of a machine: which there are, which one an
// install may take, and what their partition tables say.
//
// [List] reads sysfs; [Select] picks exactly one disk or explains, disk by
// disk, why not; [ReadTable] parses a GPT; [Open] gives a disk to write to.
//
// Select and ReadTable are pure. Select never returns a disk that is
// removable, read-only or not a disk at all (loop, ram, rom, zram, device
// mapper, floppy, RAID), whatever the selection says, and never guesses: no
// match and several matches are errors. ReadTable trusts nothing before its
// checksums and bounds are right.
//
// It does not partition, format or mount: the image brings its table, and
// Ignition makes the file systems. Sectors of 512 and 4096 bytes are
// supported; whether an image is for the sectors of a disk
// ([Disk.LogicalSector]) is the caller's to check.
package disk
