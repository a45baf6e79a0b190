// Package render turns a Butane document into an Ignition config.
//
// The flow: [Render] gives the bytes of a document to Butane and returns an
// [ignition.Config]. It takes any variant that Butane knows; those of k8snode
// come from package butane.
//
// Promises: strict. What Butane warns of (an unknown key, a decimal file mode)
// is an error here, all problems are reported at once as name:line:column.
// The same document always gives the same bytes: Butane's compression of
// contents is off, because its result depends on Butane's build.
//
// The document may not refer to local files: everything is in it.
//
// This package does not check the config against an image; package check does.
// It is the only importer of Butane. Start with [Render].
package render
