// Package source turns names into bytes: Debian packages, programs of Go
// modules and files of the web, each with the SHA-256 that the lock records.
//
// # The flow
//
// Resolving asks an archive, a module proxy or a web server what a name means
// today and returns pinned values ([Deb], [Module], [File]). Fetching turns a
// pinned value into a file of the [Cache], reading every byte through a check
// that refuses to reach the end of anything but the pinned content. Only
// resolving and fetching open sockets. [Cache.Extract] takes one file out of a
// fetched archive.
//
// # Promises
//
//   - A file of the cache has the content that its name says: it is written to
//     a temporary name, checked, synced and renamed.
//   - Two processes may share one cache, and fetch one file once.
//   - A download that was cut off goes on where it stopped, also in the next
//     run; failures that may pass are tried again, with pauses.
//   - The checks are those of the field: apt verifies the signed Release file
//     and the package lists, the Go command verifies the checksum database.
//
// # Not here
//
// What to take is decided by the recipe (package images); what to do with it
// by package builder. Container images are pulled by package container, which
// fetches through [HTTP].
//
// Start with [Cache], [HTTP.Fetch] and [Archive.Resolve].
package source
