// Package publish sends a baked image to where it is served from: a running
// server, or a folder that one serves.
//
// # The flow
//
//	Begin    the manifest    → what is missing there; its signature goes along
//	Append   each file, from where it ended
//	Commit   the image appears
//	Activate if that was asked for: new installs get it
//
// # Promises
//
//   - A line that breaks is tried again, for as long as every attempt gets
//     further; so may be the whole, at any time. What has arrived is not sent
//     again.
//   - A local file that is not the manifest's is found while it is read, named in
//     a [LocalFileError], and never complete at the target.
//   - disk.raw stays where it is when there is a disk.raw.zst: see
//     [library.Needed].
//
// # Not here
//
// What is missing, and whether what arrived is right: the [Target] says that.
//
// Start with [Image].
package publish
