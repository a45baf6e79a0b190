// Package cluster says what a cluster is: the [Cluster] document that people
// write, with its network, its nodes and the few settings that are choices.
//
// The flow:
//
//	[Parse]  reads a document strictly: an unknown key is an error, and every
//	         problem is reported at once with file, line and column,
//	[Cluster.Default]   fills in what was left out, the pod prefix of every node too,
//	[Cluster.Validate]  checks it with what is known about Kubernetes 1.37: a
//	         mistake shows on the operator's screen, not after ten minutes of POST.
//
// A parsed cluster keeps these promises: every optional field that has a
// default is set; every address, prefix and MAC parses, so that [Node.IP],
// [Node.Prefix] and [Node.HardwareAddr] need no error; networks that must be
// apart are apart; names, addresses and MACs are unique. Its methods never
// change it.
//
// This package does no I/O, holds no secrets and does not know how a node is
// configured. Package butane turns a Cluster into one document per node. Start
// with [Parse].
package cluster
