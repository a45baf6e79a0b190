// Package wholepath performs the product's story with the real programs: two
// computers with empty disks become a Kubernetes cluster in which a pod
// answers.
//
// The flow is [Run], one numbered stage after the other:
//
//  1. write cluster.yaml, make the secrets, render every node's config
//  2. see that an image that is not signed is not served, then sign it
//  3. serve, inside an isolated network
//  4. see that a closed server gives nothing away, then arm both nodes
//  5. power on; follow both machines from PXE to kubeadm's end; they looked who
//     signed the image
//  6. see with kubectl that both nodes are Ready
//  7. see that a second reader is refused
//  8. start a pod on the worker and ask it something over the network
//
// The [Timeline] says how long each stage took, and each step of each node.
//
// Promises: nothing but what [Options] names is used or written, everything
// is below one folder, and a failure names that folder, the server's log and
// every console, with its last lines. Whatever was started is stopped, unless
// [Cluster.Keep] is called.
//
// It does not bake: it takes the folder of an image. It needs root, because
// package lab does.
//
// Start with [Run].
package wholepath
