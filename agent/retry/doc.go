// Package retry repeats an operation until it succeeds, fails for good, or a
// limit passes.
//
// An installer on bare metal meets switches that need a minute before they
// forward, and servers that are restarted while a hundred machines boot; it
// must wait, but not for an answer that will not change. The operation says
// which: an error wrapped by [Permanent] ends the loop at once.
//
// Delays double from First to Max and carry no randomness: the machines of a
// rack do not boot within the same millisecond. The package reads no clock,
// only timers. Start with [Do].
package retry
