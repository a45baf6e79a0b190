// Package fieldref writes the reference of a document from the Go types that it
// is decoded into: a table for each struct, with the type, the default and the
// comment of each field. It is for tests, which compare the page in docs/ with
// what the types say.
//
// The flow: [Write] is given an empty and a completed value of the document, and
// the source files with the comments.
//
// Names of Go in comments become the names of the document: "HeartbeatMillis"
// is `heartbeatMillis`, "Container.Role" the path of that field.
//
// It does not read documents, and writes no page: package golden compares.
//
// Start with [Write].
package fieldref
