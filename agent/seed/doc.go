// Package seed keeps the stub on the disk between the install and the first
// boot, in a partition of its own: no file system, so that neither installer
// nor initramfs mounts anything, and nothing to read once it is scrubbed.
//
// The partition begins with a header: the magic "K8SSEED1", the length of the
// payload (uint32, big endian) and its SHA-256; the payload follows. A
// partition that begins with zeros holds no seed.
//
// The flow: the installer writes what [Encode] returns; on first boot
// [Locate] finds the partition on the disk that carries the root, and
// [Extract] copies the payload to a file for Ignition; after Ignition,
// [Scrub] writes zeros over the whole partition.
//
// A seed that is not whole is an error ([ErrCorrupt]), never an empty one: a
// node that lost its identity must hold, not look alive. Overwriting does not
// reach the spare cells of a flash disk; what protects the stub is that the
// server burns its token after the first delivery.
package seed
