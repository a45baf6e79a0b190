// Package strictyaml reads YAML documents that people write: strictly, and
// with every problem reported at once, at its line and column.
//
// The flow of a document type, as one value:
//
//	var schema = strictyaml.Schema[Cluster]{APIVersion: ..., Kind: ..., Default: ..., Validate: ...}
//	c, err := schema.Parse("cluster.yaml", data)
//
// which is [Parse] (syntax), [Document.Expect] (apiVersion and kind),
// [Document.Decode] (types, by the yaml tags of the struct), then the
// defaults, the checks of the type, and [Document.Place], which gives every
// problem its line and column.
//
// A document may be laid over another of its type ([Schema.Overlay]) and be
// changed field by field ([Schema.Set]) before it is decoded; every problem
// keeps the place that it has in the file that it is from. [Marshal] writes a
// value as a document that is read back to the same value.
//
// What is refused, beyond what YAML itself refuses: an unknown key (with the
// key that was probably meant), a key given twice, a value of another type
// (no number for a string, no "yes" for true), a second document, anchors,
// aliases, merge keys and tags. A uint32 is a file mode and must be written in
// octal, 0644 or 0o644: 644 would silently be 01204.
//
// An error of Parse is a [report.Problems]; a document with a problem yields
// no value at all, never half of one. Nothing here panics on any input.
//
// This package knows no document type and reads no files. Start with [Schema].
package strictyaml
