// Package sbom writes the software bill of materials of an image, as SPDX 2.3
// in JSON.
//
// # The flow
//
// [Write] takes what a bake knows anyway: the pinned inputs of the lock and the
// programs that it compiled, whose module lists [ReadProgram] takes from the
// programs themselves. Nothing is scanned, and nothing is guessed. [Read] finds
// the inputs in a document again, for who wants to hold them against the
// manifest.
//
// # The relations
//
//	document  DESCRIBES       the image
//	image     GENERATED_FROM  every input: packages, modules, downloads, container images
//	image     CONTAINS        packages of the root, programs, container images
//	container CONTAINS        its program and its packages
//	program   GENERATED_FROM  the module with its main package
//	module    DEPENDS_ON      the modules that were linked into its programs
//
// # Promises
//
//   - Equal inputs give equal bytes: the order is that of the identifiers, the
//     time is the epoch, and the namespace is a UUIDv5 of the image's ID.
//   - Checksums are those of files. The h1: hash of a Go module is one of a
//     list of files, which SPDX has no name for: it is an external reference.
//
// # Not here
//
// Licences: the packages' own copyright files are in the image.
package sbom
