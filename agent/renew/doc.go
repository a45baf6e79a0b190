// Package renew keeps the certificates of a control plane from expiring, while it
// runs.
//
// The flow of [Run]: read what there is; [Due] says what has less than a third of
// its life left; the certificates of etcd, whose authority is on no node, are asked
// of the provisioning server, for the keys that the node has; those of kubeadm,
// kubeadm renews, one control plane of the cluster at a time, and its pods are
// started again.
//
// Promises: a certificate is replaced by one that its authority signed, for the same
// key, that lives as long at least, or not at all; a file is always whole, and always fits its
// key. etcd and the API server read those of etcd at every connection, so nothing of
// etcd restarts.
//
// What it does not do: the kubelet renews its own certificate; authorities are
// renewed by their owner (k8snode secrets renew). A certificate that has expired is
// not renewed: the node is installed again.
//
// Start with [Run].
package renew
