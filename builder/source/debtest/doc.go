// Package debtest makes Debian archives for tests: real packages in suites
// whose Release files are signed, so that the real apt resolves with them.
//
// The flow: [New] makes a [Mirror] with a key of its own, [Mirror.Set] says
// what a suite offers, and the mirror is an [http.Handler] that serves it below
// /debian. Setting a suite again makes the packages vanish that it does not
// have any more, as archives do.
//
// Packages depend on what they are made of alone: the same name, version and
// files are the same bytes. The key is another one each time.
//
// There are no sources, no translations and no architecture but amd64.
//
// Start with [New].
package debtest
