// Package k8snode is Packer's builder of node images: package builder of this
// project, spoken to in HCL.
//
// # The flow
//
//	Prepare   HCL            → Config, recipe    all problems at once
//	Run       Config, hook   → Artifact          in one step of Packer's:
//	  stepBake   bake, and in the middle of it the template's provisioners
//
// # Promises
//
//   - The bytes are those of "k8snode bake" with the same recipe and lock, as
//     long as no provisioner changes the root.
//   - What provisioners change is in the manifest and in the image's ID; with
//     reproducible = true they are refused.
//   - A build that fails or is cancelled leaves nothing at output_directory.
//
// # Not here
//
// How an image is made: package builder does not know that it runs in Packer.
//
// Start with [Builder].
package k8snode
