// Package rollout brings an image to the nodes of a running cluster, one after the
// other.
//
// The flow: [NewPlan], which is pure, says which nodes have another image, in which order
// they are installed again, and whether their versions may meet; [Runner.Run] does it,
// with package reimage for each node, and stops at the first that fails.
//
// Promises:
//   - Control planes come first, one by one; workers follow in batches. So no kubelet is
//     newer than an API server (Kubernetes' version skew policy).
//   - What has the image already is left out: a rollout that ended early is run again.
//   - With another version of Kubernetes, kubeadm's configuration names it before the
//     first control plane joins, and the pods of kube-proxy change with their nodes: a
//     node has only the images that were baked into it.
//
// It does not bake or publish. Start with [NewPlan].
package rollout
