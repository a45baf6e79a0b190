package rootfs

import (
	"path"
	"slices"
	"strings"
)

// KeepFormat names what [Keep] keeps, for keys: it changes with the function.
const KeepFormat = "3"

// Keep drops what must not or need not be in an image: state and identity of
// the build, caches, logs, the tools that only the build used, links that
// enable units (presets do that), and documentation except licences.
func Keep(p string) bool {
	switch {
	case droppedFolder(p), droppedFile(p), buildTool(p):
		return false
	case strings.HasPrefix(p, "usr/lib/modules/"):
		return !strings.HasSuffix(p, "/vmlinuz") && !strings.HasSuffix(p, "/System.map")
	case strings.HasPrefix(p, "usr/share/doc/"):
		return strings.Count(p, "/") == 4 && strings.HasSuffix(p, "/copyright")
	case strings.HasPrefix(p, "etc/systemd/user/"):
		// No preset is applied to the units of users on first boot, so the
		// alias by which they find their bus must stay.
		return !strings.Contains(p, ".wants") && !strings.Contains(p, ".requires")
	}
	return true
}

// droppedFolder reports whether p is below a folder that stays empty, or
// belongs to one of Python's caches, which are as large as the source.
func droppedFolder(p string) bool {
	for _, dir := range []string{
		"boot", "dev", "proc", "run", "sys", "tmp",
		"var/cache", "var/lib/apt", "var/lib/dbus", "var/lib/ucf", "var/log", "var/tmp",
		"var/lib/systemd/deb-systemd-helper-enabled", "var/lib/systemd/deb-systemd-user-helper-enabled",
		"etc/systemd/system",
		"etc/rc0.d", "etc/rc1.d", "etc/rc2.d", "etc/rc3.d", "etc/rc4.d", "etc/rc5.d", "etc/rc6.d", "etc/rcS.d",
		"usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/doc-base", "usr/share/lintian", "usr/share/bug",
		"usr/share/bash-completion", "usr/share/zsh", "usr/share/fish",
		// The database that is made of them stays.
		"usr/lib/udev/hwdb.d",
	} {
		if strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return slices.Contains(strings.Split(p, "/"), "__pycache__")
}

// droppedFile reports whether p is a file that the build left, some of them
// with facts about the machine that it ran on.
func droppedFile(p string) bool {
	switch p {
	case "vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old",
		// The builder's own, or what packages made of them.
		"etc/hostname", "etc/fstab", "etc/.resolv.conf.systemd-resolved.bak",
		"etc/apt/sources.list", "etc/apt/apt.conf.d/99mmdebstrap",
		// Locks and backups of tools that changed a file.
		"etc/.pwd.lock", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-",
		"var/lib/dpkg/lock", "var/lib/dpkg/lock-frontend", "var/lib/dpkg/triggers/Lock",
		"var/lib/dpkg/status-old", "var/lib/dpkg/diversions-old", "var/lib/dpkg/statoverride-old",
		// Secrets, should a package make them.
		"var/lib/systemd/random-seed", "var/lib/systemd/credential.secret",
		"etc/ssl/private/ssl-cert-snakeoil.key", "etc/ssl/certs/ssl-cert-snakeoil.pem",
		// Shims of containerd 1.x, which its package still has.
		"usr/bin/containerd-shim", "usr/bin/containerd-shim-runc-v1":
		return true
	}
	return strings.HasPrefix(p, "etc/ssh/ssh_host_")
}

// buildTool reports whether p belongs to dracut or GRUB: the image is made
// with them, and could do nothing with them.
func buildTool(p string) bool {
	for _, dir := range []string{"usr/lib/dracut", "usr/lib/grub", "usr/share/grub", "etc/grub.d", "etc/default/grub.d"} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	name := path.Base(p)
	switch path.Dir(p) {
	case "usr/bin", "usr/sbin":
		return strings.HasPrefix(name, "grub-") || strings.HasPrefix(name, "dracut") || name == "lsinitrd"
	case "usr/lib/systemd/system", "usr/lib/systemd/system/initrd.target.wants", "usr/lib/systemd/system/sysinit.target.wants":
		return strings.HasPrefix(name, "grub-") || strings.HasPrefix(name, "dracut-")
	case "etc", "etc/kernel/postinst.d", "etc/kernel/postrm.d", "etc/logrotate.d", "usr/lib/kernel/install.d":
		return strings.Contains(name, "dracut")
	}
	return false
}
