// Package agent is the program that is baked into the image: it runs in the
// initramfs and on the installed node, one verb at a time, always started by a
// systemd unit.
//
// The flow of a machine, by verb:
//
//	install     network boot: write the image and the stub to the disk
//	root        every boot: open the image's root, checked by dm-verity
//	seed        every boot: is it the first one? if so, hand its config to Ignition
//	scrub       after Ignition: mark the first boot as done, erase its config
//	etcd-guard  before every start of etcd: may it start an empty cluster?
//	import      every boot: import the baked container images
//	bootstrap   kubeadm init or join, once
//	report      tell the server how far the machine is
//
// Each verb is a package below this one (install, rootdev, seed, etcdguard,
// preload, bootstrap) that can be used and tested alone; this package
// parses arguments, reads the machine's files and prints the outcome. Package
// node, a leaf, is what the boot side writes for the agent.
//
// Promises: a verb that fails exits with 1 and says why in a form that can be
// read on a console; it never reboots the machine. Secrets are never arguments
// and never printed. Every verb can be run again.
//
// Start with [Run].
package agent
