// Package preload imports the container images that are baked into the root
// into containerd, so that a node starts without a registry.
//
// The flow: [Archives] lists the archives for a role; [ReadIndex] reads from
// an archive which images it holds; [Run] imports what is missing, through
// ctr, and labels every image as pinned, so that the kubelet's garbage
// collection leaves it alone.
//
// Running it again is cheap and safe: an archive is skipped when its index has
// the digest that was imported before and containerd still lists every image
// of it. The index names all content by digest, so the archive itself need not
// be read. Each step is one line of JSON.
//
// It does not pull, and it does not remove images of earlier versions.
package preload
