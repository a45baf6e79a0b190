// Package archtest holds the architecture of k8snode as tables, and a test
// that the source obeys them.
//
// The tables are in rules.go:
//
//   - one [Package] row for every package: which of our packages it may
//     import, and why;
//   - [Area]: groups of packages that must not reach each other on any path,
//     as bake and boot;
//   - [Owner]: dependencies that only some packages may import, so that each
//     can be replaced in one place;
//   - [Ban]: the clock, the environment and randomness, which are arguments
//     everywhere below the command line.
//
// [Load] parses the source with the standard library only, whatever its build
// tags; [Rules.Check] is pure and returns one line for each violation. Test
// files are not checked: a test may put together what the program keeps apart.
//
// To add a package, add its row; a package without a row and a row without a
// package both fail the test. When a rule is in the way, change the design
// first, then the row.
package archtest
