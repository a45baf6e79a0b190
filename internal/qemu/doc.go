// Package qemu describes a computer and says with which arguments QEMU
// emulates it.
//
// The flow: fill in a [Hardware], give [Hardware.Args] to the program
// [Program]. A disk that begins as a baked image is an overlay over it, made
// with the arguments of [Overlay] and the program [ImageProgram]: whatever the
// guest writes, the image stays as it is.
//
// Promises:
//   - Nothing is started. Nothing is read or written either, except that
//     [Firmware.Check] looks whether the firmware's files are there, and that
//     [WriteInitrd] joins what a network boot loader would fetch.
//   - No machine reaches anything outside of the host: a network card is
//     plugged into a tap that the caller made, or into QEMU's own network with
//     restrict=on, or there is none.
//   - The first device in [Hardware.Boot] that can be booted is booted.
//
// This package does not start machines: package lab does for tests, the verb
// "k8snode boot" for people.
package qemu
