// Package builder makes node images: a recipe goes in, a folder with a disk
// image, an ISO, a network boot set and what describes them comes out.
//
// # The flow
//
//	Relock    recipe            → Lock      what every input is, pinned
//	Fetch     Lock              → cache     the bytes, verified
//	NewPlan   recipe, Lock, Host → Plan     pure: every step and its key
//	parts     Plan              → cache     steps that the cache does not hold
//	assemble  parts             → folder    root, disk, ISO, PXE, SBOM, verified
//	publish   folder            → Out       by renaming
//
// [Bake] does all of them. A step's key is the digest of all that goes into the
// step. What is assembled is not cached: the layers of the root are compressed
// in steps, so a changed sysctl costs copying. If the folder at Out is that of
// the plan already, nothing is done.
//
// # Promises
//
//   - The output folder appears whole and verified, by renaming, or not at all.
//   - Equal plans give equal bytes; [Options.Check] repeats a bake to see it.
//   - Nothing is booted or logged into, and no loop device is used.
//   - Locked bytes or none: every input is read through a check of its digest.
//   - A package that is gone from its mirror leads to a new lock and a list of
//     what changed, or with Locked to an error; never to other bytes unseen.
//
// # Not here
//
// What an image is: package images. What is in it: the recipe. What a finished
// image must hold: package verify.
//
// Start with [Bake], or [NewPlan] to look without building.
package builder
