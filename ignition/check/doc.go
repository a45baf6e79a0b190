// Package check holds an Ignition config against the Ignition that will read
// it, before a machine does.
//
// The flow: the config's declared version is compared with the newest that the
// target image reads (images.Manifest names it), then Ignition's own parser
// for that version reads the config.
//
// Promises: a config that passes is accepted by that Ignition. Unknown keys
// and other warnings of the parser are errors here: a machine would ignore
// them, on a console that nobody watches. A config that does nothing fails,
// too, as Ignition takes it for success.
//
// This package does not fetch what a config refers to, and does not know
// whether the image has the units and programs that it names. It is, with
// package render, the only importer of Ignition. Start with [Check].
package check
