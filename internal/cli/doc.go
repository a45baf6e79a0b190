// Package cli is the command line of k8snode: one file for each verb, which
// turns flags into the options of a library and does nothing else.
//
// # The flow
//
// [Run] builds the command tree, runs one verb, prints its error and returns
// the exit code.
//
// # Promises
//
//   - Results go to standard output; everything else goes to standard error.
//   - 0 is success, 1 a failure, 2 a wrong command line.
//   - Problems in a document are all shown at once, with file, line, column
//     and the remedy.
//   - The clock, randomness and the environment enter the program here.
//
// # Not here
//
// Rules of any kind: they belong to the libraries.
package cli
