// Package embedarea is the form of what an operator writes into the embed area of
// an installer ISO, and the agent reads when a machine was started from it.
//
// The area has a fixed size, [images.InstallerAreaSize], and is full of zeros when
// the ISO is made. [Encode] makes its content: the magic "K8SAREA1", the length of
// the payload (uint32, big endian), its SHA-256, the payload, and zeros. The payload
// is a [Document] as JSON.
//
// [Decode] tells three things apart: an area that nobody wrote ([ErrEmpty]), one
// that is not whole ([ErrCorrupt]: a medium that was written badly, or an ISO that
// was cut short), and a document that says something impossible or unknown, which
// an older agent must not guess at.
//
// A document without a token is for every machine of a cluster and holds no secret;
// one with a token is for one node, and is a secret for as long as that node's
// install window is open.
//
// This package reads and writes no files: package builder/iso knows where the area
// is in an ISO, and the kernel shows it to the agent as a file.
//
// [images.InstallerAreaSize]: https://pkg.go.dev/github.com/k8snode/k8snode/images#InstallerAreaSize
package embedarea
