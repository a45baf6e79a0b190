// Package power switches machines on and off, and says what they boot from next: by
// their management controllers, or by a command of the operator's.
//
// The flow: [Parse] reads a document with the controller of each node; its [Entry]
// opens a [Controller], which is one of
//
//	redfish   HTTPS and JSON (DMTF DSP0266), the controllers of this decade
//	ipmi      ipmitool(1), which must be installed, for older ones
//	command   a program of the operator's, for everything else
//
// and [Cycle] starts a machine again from the network, whatever state it is in.
//
// Promises: a password is in no argument of a process, no URL, no error and no log; a
// controller is spoken to by TLS alone, with its authority or its certificate's digest
// known; what a controller says that it cannot do is an error that says what it can.
//
// It waits for a state that was asked for, and decides nothing: who may lose which
// machine is package operate's matter.
//
// Start with [Parse].
package power
