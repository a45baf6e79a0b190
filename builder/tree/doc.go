// Package tree holds a part of a root file system as a value: a list of
// entries ordered by path, each with all that a tar header says of it.
//
// # The flow
//
// [FromRecipe] turns a recipe into the tree that lies over the distribution's
// files. [Overlay] writes a base archive with a tree laid over it as one
// archive, without unpacking either: the image needs no root, no device nodes
// and no mount to get its files, owners and modes right.
//
// # Promises
//
//   - Entries are sorted, parents come before what is in them, and every
//     timestamp is the given epoch: equal trees give equal bytes.
//   - An entry of the tree replaces the base's entry of the same path, with
//     all below it when a folder gives way to something else.
//
// # Not here
//
// Nothing is read from the network, and nothing is run.
package tree
