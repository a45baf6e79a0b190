// Package acceptance drives the real Packer with the real plugin, in a network
// namespace without a network: what is baked is in the cache by then, and
// Packer has nobody to ask.
//
// The tests need -packer, -plugin, -k8snode and -agent; "make test" and "make
// test-packer" pass them.
package acceptance
