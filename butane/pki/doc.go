// Package pki makes the authorities of a cluster and the leaf certificates
// that its nodes and its operator use.
//
// The flow: [New] makes a [Bundle] once per cluster; [Seal] writes it
// encrypted with a passphrase (age, scrypt) and [Open] reads it back; the
// methods of Bundle mint leaves, each with exactly the profile that kubeadm
// gives it, because kubeadm checks the files that it finds.
//
// Promises: no leaf outlives its authority; all keys are ECDSA P-256; the same
// [Options] with the same random bytes give the same bytes (keys are taken
// from the reader and signatures are those of RFC 6979, so no hidden
// randomness takes part). Seal alone is not reproducible: age draws its own.
//
// A Bundle holds every private key of a cluster. It belongs to the operator's
// machine; what a node gets of it is decided in package butane.
//
// This package does not read files, ask for passphrases, rotate authorities or
// revoke anything: Kubernetes has no revocation, therefore credentials that
// leave the operator's machine are minted with a short life.
//
// Start with [New] and [Bundle.EtcdServer].
package pki
