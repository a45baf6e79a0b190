package rootfs_test

import (
	"testing"

	"github.com/k8snode/k8snode/builder/rootfs"
)

// What the initramfs is made of is part of its key.
func TestBootDigest(t *testing.T) {
	if a, b := rootfs.BootDigest(), rootfs.BootDigest(); a != b || len(a) != 64 {
		t.Errorf("%s, then %s", a, b)
	}
}
