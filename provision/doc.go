// Package provision is the server that turns machines into nodes: it boots
// them from the network, gives each its install plan and, once, its config,
// and hears how far they are.
//
// The flow of a machine, with the handler that serves each step:
//
//	GET /boot.ipxe         boot     asks again with what the machine is
//	GET /boot/machine.ipxe boot     install, boot the local disk, or wait
//	GET /artifacts/ID/...  boot     kernel, initramfs, disk image
//	GET /seed/machine.cpio boot     address, authority and install token
//	GET  /v1/install       machine  the plan, with a stub and a config token
//	GET  /v1/config        machine  the config, with a report token
//	GET  /v1/boot          machine  what an installer from a medium shall do
//	GET  /v1/seed          machine  its seed, in the window
//	POST /v1/report        machine  progress
//	POST /v1/renew         machine  certificates of etcd, months later
//
// Promises:
//
//   - Closed by default: without an install window, opened by an operator for
//     one node, no seed, plan or config is served.
//
//   - An install has one image from its script to its config: the one that was
//     current when the node was armed. It is served while others are published.
//
//   - No secret is in a script, a URL, a kernel argument, a log or the audit;
//     what cannot be audited is not delivered.
//
//   - A config is delivered to one reader, once; a repetition within a short
//     time is the same bytes; anyone else is refused, counted and shown.
//
//   - A refusal is final to Ignition (403), a fault is retried by it (503), and
//     no answer is empty: Ignition takes an empty config for a config.
//
//   - Whoever is refused again and again is put off, by an answer that a machine
//     comes back after.
//
// Package store holds these rules, inventory knows which machine is which, netboot is
// DHCP and TFTP, admin the operator's side, which package site puts behind a guard. This
// package renders no config and reads no cluster document: [Options] takes functions
// for that.
//
// Start with [New].
package provision
