// Package e2e holds the tests of the whole image: bakes that are repeated, ended
// in the middle, or made of upstream's releases; the boots, in every way and up
// to a control plane with its pods; and the whole path: baked image, PXE,
// disk, Ignition, kubeadm, pod. The stories themselves are packages
// internal/lab/bootcheck and internal/lab/wholepath; this package runs them
// under "go test", as the last stages of "make test":
//
//	go test ./e2e -image out/node -k8snode bin/k8snode
//
// Without -image the tests are skipped.
package e2e
