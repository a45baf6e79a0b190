// Package library keeps the images that a server serves: a folder of image
// folders, named after their IDs, into which images are published while the
// server runs.
//
//	ID/              a complete image, as a bake made it
//	.incoming/ID/    one that is being published
//	current          the ID of the image that new installs get
//
// # The flow of publishing
//
//	Begin    manifest, signature → Upload   what is missing, and how much of it is there
//	Append   path, offset, bytes → length   as often as needed, after any break
//	Commit   ID                             the image appears
//	Activate ID                             new installs get it
//
// # Promises
//
//   - An image appears whole, or not at all: every file was read back and has
//     the digest of the manifest before the folder gets its name.
//   - What arrived stays, over broken connections and restarts: an upload goes
//     on where it ended. A file that turns out wrong is dropped, no other.
//   - Bytes that are in another image of the library are not sent again.
//   - Nothing is written but files that the manifest names, and its signature.
//   - With keys in [Options], what none of them signed is neither published nor
//     activated; [Library.Trusted] says so of what is there already.
//
// [Single] is one image in its own folder, to which nothing can be published.
//
// # Not here
//
// What an image is: package images. Who may publish: package provision/admin.
// Sending: package provision/publish.
//
// Start with [Open].
package library
