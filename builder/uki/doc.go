// Package uki joins a kernel, an initramfs and a command line to one EFI
// program, a unified kernel image: sections behind those of systemd's stub.
//
// It follows the UAPI group's specification "Unified Kernel Image (UKI)" and
// the PE format as far as appending sections goes. Signing is not here.
//
// The output depends on the inputs alone. Start with [Write].
package uki
