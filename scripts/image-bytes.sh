#!/usr/bin/env bash
# Prints what the bytes of a root are, as a Markdown table for docs/image.md.
#
# usage: image-bytes.sh out/node/pxe/rootfs.squashfs
#
# "packed" is each group alone in one zstd stream of the recipe's level: close
# to its part of the squashfs, not exactly that.
set -euo pipefail

[ $# -eq 1 ] || { sed -n '4p' "$0" >&2; exit 2; }
level=9
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

unsquashfs -quiet -no-progress -no-xattrs -d "$root" "$1" >/dev/null

# Every file with its package; packages still say /lib for /usr/lib.
for list in "$root"/var/lib/dpkg/info/*.list; do
	name=$(basename "$list" .list)
	sed -E "s#^/(bin|sbin|lib|lib64)/#/usr/\1/#; s#\$#\t${name%%:*}#" "$list"
done >"$work/owners"

find "$root" -type f -printf '/%P\t%s\n' | awk -F '\t' '
	# The first file is owners, the second files with sizes.
	NR == FNR { owner[$1] = $2; next }
	{ print group($1, owner[$1]) "\t" $1 "\t" $2 }

	function group(path, package) {
		if (path ~ "^/usr/share/k8snode/images/") return "container images"
		if (path ~ "^/usr/lib/modules/") return "kernel modules"
		if (path ~ "^/usr/lib/cni/") return "CNI plugins"
		if (path ~ "^/usr/bin/(kubeadm|kubelet|kubectl)$") return "kubeadm, kubelet, kubectl"
		if (path ~ "^/usr/bin/etcd(ctl|utl)?$") return "etcd, etcdctl, etcdutl"
		if (path ~ "^/usr/(s?bin)/(containerd|containerd-shim-runc-v2|ctr|runc)$") return "containerd, ctr, runc"
		if (path ~ "^/usr/bin/(cri-dockerd|crictl)$") return "cri-dockerd, crictl"
		if (path ~ "^/usr/bin/k8snode-agent$") return "the agent"
		if (path ~ "^/usr/share/doc/") return "licences"
		if (path ~ "^/var/lib/dpkg/") return "list of packages"
		if (package ~ "^(docker.io|docker-cli|tini)$") return "docker"
		if (package ~ "^(ceph-common|librados2|librbd1|libcephfs2|libradosstriper1|libboost-.*|python3-(ceph.*|rados|rbd|cephfs))$") return "ceph-common and its libraries"
		if (package ~ "^(python3.*|libpython3.*)$") return "Python, for ceph-common"
		if (package ~ "^(haproxy|keepalived|libsnmp.*|liblua.*|libopentracing.*|libjemalloc2)$") return "haproxy, keepalived"
		if (package ~ "^(libperl.*|perl-modules.*)$") return "Perl, for keepalived"
		if (package ~ "^(systemd.*|libsystemd.*|udev|libudev1|libnss-.*|libpam-systemd|dbus.*)$") return "systemd, udev, D-Bus"
		return "the rest of Debian"
	}
' "$work/owners" - >"$work/files"

echo "| what | files | MB | packed MB |"
echo "| --- | ---: | ---: | ---: |"
cut -f1 "$work/files" | sort -u | while read -r group; do
	awk -F '\t' -v group="$group" '$1 == group { print "." $2 }' "$work/files" >"$work/list"
	bytes=$(awk -F '\t' -v group="$group" '$1 == group { sum += $3 } END { print sum }' "$work/files")
	packed=$(tar -C "$root" --sort=name -cf - -T "$work/list" | zstd -q -"$level" -T0 -c | wc -c)
	printf '%s\t%d\t%d\t%d\n' "$group" "$(wc -l <"$work/list")" "$bytes" "$packed"
done | sort -t "$(printf '\t')" -k4,4nr | awk -F '\t' '
	{ printf "| %s | %d | %.1f | %.1f |\n", $1, $2, $3 / 1e6, $4 / 1e6; files += $2; bytes += $3; packed += $4 }
	END { printf "| **all** | %d | %.1f | %.1f |\n", files, bytes / 1e6, packed / 1e6 }
'
echo
echo "The file has $(stat -c %s "$1" | awk '{ printf "%.1f", $1 / 1e6 }') MB."
