// Package stub makes the Ignition config that an installed disk carries: it
// fetches the node's own config, once, and replaces itself by it.
//
// The flow: the provisioning server calls [Stub] when it plans an
// installation, the agent writes the result beside the image, and Ignition
// reads it on the first boot (as user.ign). The authority in the stub is
// trusted for that fetch, and the token goes into a header: Ignition logs
// URLs, and the kernel command line is readable by every pod.
//
// Promises: the stub is valid for Ignition 2.15 and later (config
// specification 3.4.0), its URL is https and carries no credentials. A server
// that is down is asked again for as long as it takes; one that answers 404
// is not (that is Ignition's rule).
//
// This package does not make tokens and does not know what the URL serves.
// Start with [Stub].
package stub
