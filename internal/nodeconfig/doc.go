// Package nodeconfig puts the steps of the boot side together: a cluster
// document and its secrets go in, the config of one node for one image comes
// out.
//
// # The flow
//
//	Load    files             → Cluster, Bundle   parsed, decrypted
//	Fits    Manifest, Cluster → error             the image is of the cluster's Kubernetes
//	Render  Options           → Config            Butane, then Ignition, then checked
//
// # Promises
//
//   - What [Render] returns, the Ignition inside the image accepts.
//   - Every call mints new certificates, and nothing is written anywhere.
//
// # Not here
//
// What is in a config: package butane. Delivering it: package provision, which
// is given [Render] as a function.
//
// Start with [Render].
package nodeconfig
