// Package builder makes node images: a recipe goes in, a folder with a disk
// image, a network boot set and a manifest comes out.
//
// # The flow
//
//	Resolve   recipe            → Lock      what every input is, pinned
//	Fetch     Lock              → cache     the bytes, verified
//	NewPlan   recipe, Lock, Host → Plan     pure: every step and its key
//	Build     Plan              → folder    run what the cache does not hold
//
// [Bake] does all four. A step's key is the digest of all that goes into the
// step, so a changed sysctl repacks the root and nothing else, and a second
// bake of the same recipe only looks.
//
// # Promises
//
//   - The output folder appears whole, by renaming, or not at all.
//   - Nothing is booted or logged into, and no loop device is used.
//   - Locked bytes or none: every input is read through a check of its digest.
//
// # Not here
//
// What an image is: package images. Byte-for-byte equal outputs, dm-verity,
// BIOS boot and an installer ISO are not built yet.
//
// Start with [Bake], or [NewPlan] to look without building.
package builder
