// Package ignition holds what a machine is given on its first boot: an
// Ignition config, as a value that cannot change after it was made.
//
// The flow: package render turns a Butane document into a [Config], package
// check holds it against the Ignition of the image that will read it, and the
// provisioning server delivers its bytes once. Package stub makes the small
// config on the disk that fetches it.
//
// Promises: the bytes of a Config are those that it was made of, and
// [Config.Digest] is theirs. A Config is never empty: Ignition takes an empty
// body for success and boots a machine without identity.
//
// A Config holds private keys. It has no String method and no field that a
// logger could print.
//
// This package does not parse more than the version; it imports neither Butane
// nor Ignition. Start with [New].
package ignition
