// Package etcdstore keeps the nodes of provisioning servers in etcd: several
// servers, each without a state of its own, serve the same machines.
//
// The flow: [ParseURL] reads where the store is; [Open] connects, and checks
// whose it is; each change is a transaction that compares what it read.
//
// Promises: a change that was answered is what every server reads from then on;
// of two changes at the same time the second is made to what the first left; a
// member without a quorum answers nothing, rather than what is old; no call waits
// longer than [Options.CallTimeout] for etcd; a store of another cluster, or of a
// newer k8snode, is refused.
//
// An error of a change may mean that the change was made and only its answer was
// lost. The rules of package store allow for that: who asks again is answered as
// after the first time.
//
// It knows no rules and makes no cluster of etcd. The etcd of the Kubernetes
// cluster is the wrong one: it is what the server installs.
//
// Start with [Open].
package etcdstore
