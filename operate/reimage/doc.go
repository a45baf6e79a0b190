// Package reimage installs a node of a running cluster again, as one transaction.
//
// The flow: [NewPlan], which is pure, looks at the cluster and at the provisioning
// server, and says what is to be done; [Runner.Run] does it:
//
//  1. take the node out of the cluster: drain, etcd's leader, its member, its Node;
//  2. open an install window;
//  3. start the machine from the network, or wait until somebody does;
//  4. follow it, by what it reports: installed, configured, ready;
//  5. verify, in the cluster: the node is Ready, its member of etcd is healthy;
//  6. close the window.
//
// Promises: nothing is done that would cost etcd its quorum. Every step may be
// repeated, and what was begun is found again: the provisioning server remembers the
// transaction, so that a plan which is made after a crash of whatever side begins where
// the last one ended, and never takes a node out of the cluster that has just joined it.
//
// It decides nothing about which node is next: package rollout does.
//
// Start with [NewPlan].
package reimage
