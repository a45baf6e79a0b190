package rootfs_test

import (
	"testing"

	"github.com/k8snode/k8snode/builder/rootfs"
)

func TestKeep(t *testing.T) {
	for p, want := range map[string]bool{
		"etc/passwd":                            true,
		"etc/passwd-":                           false,
		"etc/shadow":                            true,
		"etc/shadow-":                           false,
		"etc/.pwd.lock":                         false,
		"etc/ssh/sshd_config":                   true,
		"etc/ssh/ssh_host_ed25519_key":          false,
		"etc/ssh/ssh_host_ed25519_key.pub":      false,
		"etc/hostname":                          false,
		"etc/hosts":                             true,
		"etc/.resolv.conf.systemd-resolved.bak": false,
		"etc/apt/sources.list":                  false,
		"etc/apt/apt.conf.d/99mmdebstrap":       false,
		"etc/apt/apt.conf.d/01autoremove":       true,
		"etc/machine-id":                        true, // the recipe's tree replaces it
		"etc/rc2.d/S01chrony":                   false,
		"etc/systemd/system/dbus.service":       false,
		"etc/systemd/user/dbus.service":         true,
		"etc/systemd/system/a.wants/b.timer":    false,
		"etc/systemd/user/a.wants/b.socket":     false,
		"etc/systemd/system/a.requires/b.mount": false,

		"var/log":                      true,
		"var/log/dpkg.log":             false,
		"var/cache/debconf/config.dat": false,
		"var/cache/ldconfig/aux-cache": false,
		"var/lib/apt/lists/x_Packages": false,
		"var/lib/dbus/machine-id":      false,
		"var/lib/dpkg/status":          true,
		"var/lib/dpkg/status-old":      false,
		"var/lib/dpkg/info/bash.list":  true,
		"var/lib/systemd/random-seed":  false,
		"var/lib/systemd/deb-systemd-helper-enabled/multi-user.target.wants/ssh.service": false,

		"boot/vmlinuz-7.3":                                            false,
		"usr/lib/modules/7.3/vmlinuz":                                 false,
		"usr/lib/modules/7.3/modules.dep":                             true,
		"usr/lib/udev/hwdb.bin":                                       true,
		"usr/lib/udev/hwdb.d/20-pci.hwdb":                             false,
		"usr/share/doc/bash/copyright":                                true,
		"usr/share/doc/bash/changelog.gz":                             false,
		"usr/share/man/man1/bash.1.gz":                                false,
		"usr/lib/python3/dist-packages/a.py":                          true,
		"usr/lib/python3/dist-packages/__pycache__/a.cpython-313.pyc": false,

		"usr/lib/dracut/modules.d/x/setup.sh":                                 false,
		"usr/lib/systemd/system/dracut-shutdown.service":                      false,
		"usr/lib/systemd/system/sysinit.target.wants/dracut-shutdown.service": false,
		"usr/lib/systemd/system/initrd.target":                                true,
		"etc/kernel/postinst.d/dracut":                                        false,
		"etc/grub.d/10_linux":                                                 false,
		"usr/lib/grub/i386-pc/boot.img":                                       false,
		"usr/bin/grub-mkimage":                                                false,
		"usr/sbin/grub-probe":                                                 false,
		"usr/bin/grep":                                                        true,

		"usr/bin/containerd":               true,
		"usr/bin/containerd-shim":          false,
		"usr/bin/containerd-shim-runc-v1":  false,
		"usr/bin/containerd-shim-runc-v2":  true,
		"etc/containerd/config.toml":       true,
		"usr/lib/systemd/system/a.service": true,
	} {
		if got := rootfs.Keep(p); got != want {
			t.Errorf("%s: kept %v, want %v", p, got, want)
		}
	}
}
