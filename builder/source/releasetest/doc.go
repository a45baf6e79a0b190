// Package releasetest stands in for the release pages of upstream in tests:
// files, archives with the members that a recipe wants, and their digests as
// upstream publishes them.
//
// Start with [Handler]. What the programs are is the caller's: they are named as
// the recipe names them.
package releasetest
