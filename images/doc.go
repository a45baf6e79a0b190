// Package images says what an image is: the [Recipe] that people write, the
// [Manifest] and the [BlockMap] that a bake leaves beside the disk image.
//
// The flow of a recipe:
//
//	[Parse]  reads a document strictly: an unknown key is an error, and every
//	         problem is reported at once with file, line and column,
//	[Recipe.Default]   fills in what was left out,
//	[Recipe.Validate]  checks every promise a recipe makes to the builder,
//	package builder    resolves it into a lock, a plan and an image.
//
// Recipes that come with the program are embedded: [Names] lists them and
// [Open] returns one with the folder that its sources are in. A recipe of the
// user is the same document in a folder of the user's.
//
// A parsed recipe keeps these promises: names, paths, programs, units and
// references are unique and well formed; every source is a relative path
// inside the recipe's folder; every version is exact; every optional field
// that has a default is set. Whether a source exists, a package can be had or
// a version is published is for the builder to find out.
//
// This package does no I/O and knows neither locks nor digests of recipes.
// Start with [Parse].
package images
