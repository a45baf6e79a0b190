// Package tree holds a part of a root file system as a value: a list of
// entries ordered by path, each with all that a tar header says of it.
//
// # The flow
//
// [FromRecipe] turns a recipe into the tree that lies over the distribution's
// files; package squashfs makes a layer of the root of it. [Tree.WriteTar]
// writes the layers of container images.
//
// # Promises
//
//   - Entries are sorted, parents come before what is in them, and every
//     timestamp is the given epoch: equal trees give equal bytes.
//
// # Not here
//
// Nothing is read from the network, and nothing is run.
package tree
