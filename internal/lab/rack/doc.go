// Package rack is thousands of machines that are not there: each speaks to a real
// provisioning server as the firmware, the installer, Ignition and the agent of one
// machine do, and checks everything that it is told.
//
// The flow: [Run] has all machines of a cluster document go from their boot script to
// ready, each from its own address, and returns a [Result]. On the way they are as rude as real ones: connections break, requests are
// repeated, and thieves ask as well.
//
// Promises: a config that is another node's, two different ones for one machine, one
// for a thief, and one after it was burned are each counted, and are never passed over;
// the same dice make the same troubles.
//
// It writes no disk, and runs no Ignition: one machine of package wholepath does.
//
// Start with [Run].
package rack
