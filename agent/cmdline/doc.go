// Package cmdline reads the words of the kernel command line that tell the
// initramfs of k8snode what to start. They are the same on an installed disk,
// on an ISO and in a network boot:
//
//	k8snode.root=partuuid:GUID | label:LABEL | file:PATH | http(s)://…
//	k8snode.verity=ROOTHASH:OFFSET
//	k8snode.state=disk | tmpfs
//	k8snode.disk=GUID
//	ignition.config.url=URL
//
// [Parse] is pure and strict: a word that is missing, malformed or that
// contradicts another is an error that names it, because a machine that
// guesses its root starts the wrong one. Other words are not looked at. As for
// the kernel itself, the last of several words counts: whoever appends to the
// line of a boot loader means it.
//
// The command line can be read by every program on the machine and is logged:
// no word holds a secret. Start with [Parse].
package cmdline
