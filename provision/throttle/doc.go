// Package throttle bounds how often an address may fail: to sign in, or to ask for what
// it is refused.
//
// The flow: [New] makes a [Limiter]; [Limiter.Take] before an attempt that may fail and
// [Limiter.GiveBack] after one that did not, or [Limiter.Wait] before and Take after a
// failure.
//
// Promises: what is remembered is bounded, whoever asks; who tries in vain does not
// wait longer; a whole IPv6 network of 64 bits is one address.
//
// It refuses nothing itself.
//
// Start with [New].
package throttle
