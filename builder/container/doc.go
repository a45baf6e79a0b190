// Package container makes the archives of container images that a node has
// without a registry: from programs and, where a program needs some, the files
// of Debian packages, or from images that others have built. It is the only
// importer of go-containerregistry.
//
// # The flow
//
// [Build] packs one layer (the unpacked packages, then the program), adds a
// config, and writes an OCI layout as a tar archive that containerd imports
// under the image's full name.
//
// [Registry.Resolve] asks which digest a tag has, for the lock.
// [Registry.Fetch] brings the manifests, the config and the layers of a pinned
// image for linux/amd64 into the cache, [Import] those of an OCI layout on
// disk; [Pack] writes them as the same kind of archive.
//
// # Promises
//
// An archive depends on the inputs and the epoch alone. Layers that are built
// here are compressed with zstd, for the sake of the machine that imports
// them; those of others stay as they are, because their digests are pinned.
// Every part is checked by its digest, from the pinned one down. Only Resolve
// and Fetch open sockets; a layer that was cut off is resumed.
//
// # Not here
//
// No registry is logged into, and no maintainer script of a package is run: an
// image that needs one is not for this package.
package container
