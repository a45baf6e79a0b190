// Package signature signs the manifest of an image, and says who signed one.
// The manifest has the digests of all artifacts: who vouches for it vouches for
// the image.
//
// Files are those of the program minisign (Ed25519, BLAKE2b), which can make
// keys and signatures for this package, and check those that it makes.
//
//	Generate → PrivateKey → Seal                    a key pair, encrypted
//	Open     → PrivateKey → Sign(manifest, comment) a signature
//	ParseKeys → Keys → Check(manifest, signature)   who signed it
//
// # Promises
//
//   - [Keys.Check] succeeds only when one of the keys signed these very bytes,
//     and the comment that it returns.
//   - No key is no permission: a check without keys fails.
//
// # Not here
//
// Which image is meant: an old manifest is as well signed as a new one. Who
// checks a signature compares the manifest with what was wanted.
//
// Start with [ParseKeys].
package signature
