// Package store keeps what a provisioning server knows of its nodes, and the
// rules by which a node may be given secrets.
//
// The flow of one install:
//
//	Gate.Arm        an operator opens a window
//	Gate.Seed       the boot loader is given an install token
//	Gate.Plan       the agent exchanges it for a config token
//	Gate.Claim      Ignition asks for the config with that token
//	Gate.Render     the config is rendered with a token that may only report
//	Gate.Delivered  a complete config was sent; only a replay is possible now
//	Gate.Report     the machine says how far it is
//
// Promises:
//   - A node is closed unless an operator opened a window, and closed again
//     when the window ends, by whatever end comes first.
//   - Tokens have 256 random bits and are kept as SHA-256 only, each bound to
//     a node, an install, a purpose and an expiry.
//   - A config has one reader. Whoever comes second is refused, counted and
//     remembered in the node.
//   - A phase advances when a machine proves it, never because it was served
//     something.
//
// [Gate] holds the rules; a [Store] only keeps [Node] values and changes them
// atomically, and the one config of each install. [Memory] is the
// in-process one; package storetest checks any other.
//
// This package opens no socket and renders no config. What it keeps of one is
// encrypted for the holder of a token that it does not keep.
//
// Start with [NewGate].
package store
