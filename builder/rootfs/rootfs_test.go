package rootfs_test

import (
	"testing"

	"github.com/k8snode/k8snode/builder/rootfs"
)

func TestKeep(t *testing.T) {
	for p, want := range map[string]bool{
		"etc/passwd":                          true,
		"etc/ssh/sshd_config":                 true,
		"etc/ssh/ssh_host_ed25519_key":        false,
		"etc/hostname":                        false,
		"etc/machine-id":                      true, // the recipe's tree replaces it
		"etc/systemd/system/dbus.service":     true,
		"etc/systemd/system/a.wants/b.timer":  false,
		"var/log":                             true,
		"var/log/dpkg.log":                    false,
		"var/cache/debconf/config.dat":        false,
		"var/lib/dpkg/status":                 true,
		"boot/vmlinuz-7.3":                    false,
		"usr/lib/modules/7.3/vmlinuz":         false,
		"usr/lib/modules/7.3/modules.dep":     true,
		"usr/share/doc/bash/copyright":        true,
		"usr/share/doc/bash/changelog.gz":     false,
		"usr/share/man/man1/bash.1.gz":        false,
		"usr/lib/dracut/modules.d/x/setup.sh": false,
	} {
		if got := rootfs.Keep(p); got != want {
			t.Errorf("%s: kept %v, want %v", p, got, want)
		}
	}
}

// What the initramfs is made of is part of its key.
func TestModuleDigest(t *testing.T) {
	if a, b := rootfs.ModuleDigest(), rootfs.ModuleDigest(); a != b || len(a) != 64 {
		t.Errorf("%s, then %s", a, b)
	}
}
