// Package images says what an image is: the [Recipe] that people write, the
// [Manifest] and the [BlockMap] that a bake leaves beside the disk image.
//
// The flow of a recipe:
//
//	[Load]             reads a document strictly: an unknown key is an error, and
//	                   every problem is reported at once with file, line and
//	                   column; lays it over the recipe that it extends, and the
//	                   overrides of the command line over both,
//	[Recipe.Default]   fills in what was left out,
//	[Recipe.Validate]  checks every promise a recipe makes to the builder,
//	package builder    resolves it into a lock, a plan and an image.
//
// Recipes that come with the program are embedded: [Names] lists them. A recipe
// of the user is the same document in a folder of the user's. [Recipe.YAML]
// writes a merged recipe, which reads back as itself.
//
// A parsed recipe keeps these promises: names, paths, programs, units and
// references are unique and well formed; every source is a relative path
// inside the folder of the recipe that names it; every version is exact, or a
// name that the lock pins; every optional field that has a default is set.
// Whether a source exists, a package can be had or a version is published is
// for the builder to find out.
//
// This package reads files through the folders that it is given, and knows
// neither locks nor digests of recipes. Start with [Load].
package images
