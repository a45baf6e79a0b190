// Package medium installs a machine that was started from the ISO of an installer.
//
// # The flow
//
// [Run] mounts the medium by its label and reads the embed area, brings up the
// network (by DHCP, or as the area says), and asks the server what to do, saying
// what the machine is:
//
//   - install: with the token of the area, or with one that the server gives this
//     machine in its window, the disk is written as after a network boot. Then the
//     disk is started.
//   - local: there is nothing to install. The disk is started if it holds an image;
//     a machine without one waits, because that is what an installer is for.
//   - wait: an operator has to do something first. The console says what.
//
// A server that does not answer for [DefaultPatience], or no network at all, starts
// the disk as well, if it holds an image: a medium that stays in the drive must not
// keep a rack down.
//
// # Promises
//
//   - The server's authority is that of the medium, and no other.
//   - The medium is not needed after the area was read, and not mounted.
//   - What the machine waits for is on its console, again each minute.
//   - The ISO of one node does nothing on a machine that has none of its interfaces.
//
// # Not here
//
// Writing the disk (package install), starting it (package handover), and the form of
// the area (package embedarea).
package medium
