// Package boltstore keeps the nodes of a provisioning server in one file, by bbolt.
//
// The flow: [Open] takes the file, which it alone then has, checks all of it, and
// checks whose it is; each change is a transaction.
//
// Promises: a change that was answered is on the disk; after a crash the file has
// every change whole, or not at all; a file that is damaged, of another cluster, or of
// a newer k8snode, is refused and left as it is. A new file appears only where there
// was none.
//
// It knows no rules: package store has them. Only one process can have the file.
//
// Start with [Open].
package boltstore
