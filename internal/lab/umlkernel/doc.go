// Package umlkernel brings the kernel of User-Mode Linux machines: Linux as a
// program, with its modules, from Debian's archive.
//
// [Fetch] takes the pinned package from the host's mirror, or what sid has
// today when the pinned one is gone from it, says so, and unpacks it below the
// cache, once per digest. [Libraries] takes the C library out of an image: the
// kernel needs a newer one than the host may have.
//
// It promises that what it returns is complete: folders appear by renaming.
//
// It starts nothing: package lab does. Start with Fetch.
package umlkernel
