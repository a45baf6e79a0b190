// Package change says what a new version of a cluster document means for the
// machines of a cluster that runs.
//
// The flow: [Compare] generates the documents of every node for both versions,
// with the same secrets, time and randomness, so that only what the cluster
// document says can differ; each file, unit and partition that does is looked up
// in one table, which knows who reads it and when; the worst of a node's effects
// is the node's.
//
// Promises: the result depends on nothing but the two documents; a difference
// that the table does not know counts as one that needs a new installation.
//
// It needs no secrets of the cluster and asks nobody: what a machine really has
// is not known here. It changes nothing.
//
// Start with [Compare].
package change
