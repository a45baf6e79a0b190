// Package kube is how tests speak to a cluster of lab machines: with the
// kubectl that was baked into the image, from inside the machines' network.
//
// [BakedKubectl] takes the program out of an image, [Kubectl] runs it,
// [NodeList] and [Node] are what it says, [Waiter] looks again until something
// holds, and gives up when nothing changes.
//
// It starts no machine and judges nothing but nodes. Start with Kubectl.
package kube
