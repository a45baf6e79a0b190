// Package report holds what is wrong with a document, and where.
//
// A [Problem] is one finding: a place (file, line, column), the [Path] of the
// field inside the document, what is wrong, and what to write instead.
// [Problems] is a list of them and an error, so that a parser can return all
// of them at once and a caller that does not care still gets an error.
//
// The flow:
//
//   - a validator makes Problems that know their Path only;
//   - the decoder, which knows the tree of the document, fills in the place
//     (package strictyaml, Document.Place);
//   - [Problems.Error] prints one line per problem for logs and editors,
//     [Problems.Format] prints them with the lines of the source.
//
// Promises: problems are sorted by file, line and column, those of one place
// keep the order in which they were found, and the output depends on nothing
// but the problems and the source.
//
// This package reads no files and does not decide whether a terminal wants
// colour. Start with [Problems].
package report
