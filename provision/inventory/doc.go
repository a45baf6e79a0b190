// Package inventory tells which machine of a cluster document a machine on the
// network is, and remembers those that are none.
//
// The flow: [New] checks the machines of a document; [ReadFacts] reads what a
// machine says of itself before it has an operating system; [Inventory.Match]
// finds it; a [Sightings] keeps what was not found.
//
// Promises:
//   - Interfaces decide first, then the UUID, then the serial number: each is
//     asked only when nothing is known by the one before.
//   - What contradicts itself is no machine: two nodes by two interfaces, or a
//     UUID or serial number that the document gives to another one.
//   - A UUID or serial number that vendors left in many machines is not read.
//   - What strangers say is bounded in length and in number, and printable.
//
// It keeps no state of an install, and trusts no fact: facts choose a script;
// what is secret is behind windows and tokens (package store).
//
// Start with [New].
package inventory
