// Package e2e holds the test of the whole path: baked image, PXE, disk,
// Ignition, kubeadm, pod. The story itself is package
// internal/lab/wholepath; this package runs it under "go test", as the last
// stage of "make test":
//
//	go test ./e2e -image out/node -k8snode bin/k8snode
//
// Without -image the test is skipped.
package e2e
