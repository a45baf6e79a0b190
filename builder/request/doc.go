// Package request turns what a user asks for, a recipe by name or file with
// overrides and a lock, into what package builder works with.
//
// # The flow
//
//	Request.Load   names            → images.Loaded     the recipe, merged and valid
//	Request.Open   names, Options   → Job               with the lock that belongs to it
//	Job.Explain    error            → error             at its place in the recipe
//
// # Promises
//
//   - The same words mean the same bake, from whatever program they come.
//   - A lock beside a recipe's file is never written with what overrides ask
//     for, and an embedded one never at all: both begin one in the cache.
//
// # Not here
//
// Flags, their defaults and the environment: the command line and the plugins
// have those.
//
// Start with [Request.Open].
package request
