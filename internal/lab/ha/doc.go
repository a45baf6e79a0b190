// Package ha is the story of a highly available cluster: three control planes
// and a worker, which are User-Mode Linux machines on an isolated network,
// start from the configs that "k8snode render" writes, lose disks, power and
// programs, and remain one cluster.
//
// The flow: [New] renders the configs with the real program and makes the
// machines, [Cluster.PowerOn] starts some, [Cluster.WaitReady] waits until
// Kubernetes says that nodes are Ready; [Cluster.Wipe] pulls a plug and empties
// a disk. What is asked of the cluster is asked from inside its network, through
// its virtual address ([Cluster.Kubectl]), or in a guest ([Cluster.Run]).
//
// A machine boots the disk of the image, its root checked by dm-verity, with
// the image's own initramfs. What its kind of machine needs comes in an archive
// behind that: the modules of its kernel, and the node's config, which real
// machines get from a server. Nothing in the image knows of it.
//
// It does not install images (package wholepath does, with firmware) and has no
// test of its own: package e2e tells the story.
//
// Start with New.
package ha
