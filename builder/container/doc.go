// Package container makes container images from programs and, where a program
// needs some, the files of Debian packages. It is the only importer of
// go-containerregistry.
//
// # The flow
//
// [Build] packs one layer (the unpacked packages, then the program), adds a
// config, and writes an OCI layout as a tar archive that containerd imports
// under the image's full name.
//
// # Promises
//
// The archive depends on the inputs and the epoch alone. Layers are compressed
// with zstd, for the sake of the machine that imports them.
//
// # Not here
//
// No registry is spoken to, and no maintainer script of a package is run: an
// image that needs one is not for this package.
package container
