// Package source turns names into bytes: Debian packages, programs of Go
// modules and local files, each with the SHA-256 that the lock records.
//
// # The flow
//
// Resolving asks an archive or a module proxy what a name means today and
// returns pinned values ([Deb], [Module]). Fetching turns a pinned value into
// a file of the [Cache], reading every byte through a [Reader] that refuses to
// reach the end of anything but the pinned content. Only resolving and
// fetching open sockets.
//
// # Promises
//
//   - A file of the cache has the content that its name says: it is written to
//     a temporary name, checked, synced and renamed.
//   - Two processes may share one cache.
//   - The checks are those of the field: apt verifies the signed Release file
//     and the package lists, the Go command verifies the checksum database.
//
// # Not here
//
// What to take is decided by the recipe (package images); what to do with it
// by package builder.
//
// Start with [Cache.Fetch] and [Archive.Resolve].
package source
