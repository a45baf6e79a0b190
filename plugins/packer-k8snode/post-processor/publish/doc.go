// Package publish is Packer's post-processor k8snode-publish: it sends a baked
// image to a running "k8snode serve", or into a folder that one serves.
//
// The receiver has the image whole or not at all, and a build that is repeated
// sends only what is missing: see package provision/publish, which does it.
//
// Start with [PostProcessor].
package publish
