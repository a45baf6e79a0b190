// Package audit keeps the record of who was given what: one JSON object per
// line, each holding the digest of the line before, so that a line that is
// changed, removed or inserted afterwards is found.
//
// The flow: [New] continues a log whose end [Verify] returned; [Log.Record]
// appends an [Event] and returns an error when the line could not be written,
// so that a caller can refuse to hand out what it cannot record.
//
// Promises: an event has no field for a token or a config; the digest covers
// every byte of a line but the digest itself; a line is one Write.
//
// The chain shows tampering with a part of the log. Whoever can rewrite all
// of it can also compute a new chain: keep the newest digest elsewhere.
//
// Start with [New].
package audit
