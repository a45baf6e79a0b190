#!/usr/bin/env bash
# Measures a bake beside mkosi's on this machine, in one run, and writes its section
# of docs/benchmarks.md. bench-serve.sh writes the others.
#
# usage: bench.sh
#
# Both make a disk image of the same packages from the same mirror and with the
# same compiled programs, all of them fetched and compiled before:
#
#   cold      every layer from nothing
#   change    one sysctl gets another value
#   nothing   nothing changed
#
# mkosi is Debian's package, run from a root of its own in the cache.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

scripts/host-packages.sh bake bench
make --no-print-directory build

bench=$cache/bench
tools=$bench/tools # mkosi's root
mkdir -p "$bench"
work=$(mktemp -d "$bench/run.XXXXXX")
trap 'rm -rf "$work"' EXIT
# shellcheck disable=SC2016 # the names are those of apt
mirror=$(apt-get indextargets --no-release-info --format '$(CREATED_BY) $(REPO_URI)' |
	awk '$1 == "Packages" && $2 ~ /\/debian\/?$/ {print $2; exit}')

declare -A wall
rows=()

# measure WHO CASE FILE COMMAND...: runs the command and adds a row for it.
measure() {
	local who=$1 what=$2 file=$3 took user system rss
	shift 3
	if ! /usr/bin/time --quiet --format '%e %U %S %M' --output "$work/time" "$@" >"$bench/last.log" 2>&1; then
		tail -20 "$bench/last.log" >&2
		echo "bench.sh: $who, $what: failed; all of its output is in $bench/last.log" >&2
		exit 1
	fi
	read -r took user system rss <"$work/time"
	wall[$who/$what]=$took
	rows+=("$(printf '| %s | %s | %.1f | %.1f | %d | %d |' "$who" "$what" "$took" \
		"$(awk -v a="$user" -v b="$system" 'BEGIN {print a + b}')" $((rss / 1024)) \
		"$(du --block-size=1M "$file" | cut -f1)")")
	printf 'bench.sh: %s, %s: %s s\n' "$who" "$what" "$took" >&2
}

# ours CASE OUTPUTS: bakes the recipe that $work/recipes holds.
ours() {
	measure k8snode "$1" "$work/out/disk.raw" bin/k8snode bake --recipe "$work/recipes/node.yaml" \
		--cache "$work/cache" --out "$work/out" --agent bin/k8snode-agent --set "spec.outputs=[$2]"
}

# mkosi CASE: builds the configuration in the tools' root. It makes namespaces,
# which a chroot forbids: so its root is the root of a mount namespace.
mkosi() {
	# shellcheck disable=SC2016 # the inner shell expands them
	measure mkosi "$1" "$tools/bench/out/image.raw" unshare --mount --propagation private sh -ec '
		mount --bind "$1" "$1"; cd "$1"; mkdir -p old
		mount -t proc proc proc; mount --rbind /dev dev; mount --rbind /sys sys
		mount -t tmpfs tmpfs run; mount -t tmpfs tmpfs tmp
		cat /etc/resolv.conf >etc/resolv.conf; cat /etc/hosts >etc/hosts
		pivot_root . old; umount -l /old; cd /bench/conf; exec mkosi --force build' sh "$tools"
}

# set_sysctl VALUE: the one-line change, for both.
set_sysctl() {
	sed -i "s/^\( *vm.panic_on_oom:\).*/\1 \"$1\"/" "$work/recipes/node.yaml"
	echo "vm.panic_on_oom = $1" >"$tools/bench/extra/usr/lib/sysctl.d/90-k8snode.conf"
}

# 1. Everything fetched and compiled; the same tree for mkosi.
bin/k8snode bake --recipe node --out "$work/warm" --agent bin/k8snode-agent
if [ ! -x "$tools/usr/bin/mkosi" ]; then
	rm -rf "$tools"
	mmdebstrap --quiet --mode=root --variant=apt trixie "$tools" "$mirror" \
		--include=mkosi,systemd-repart,systemd,dosfstools,mtools,e2fsprogs,zstd,cpio,kmod,ca-certificates
fi
cp -r images/recipes "$work/recipes"
rm -rf "$tools/bench"
mkdir -p "$tools"/bench/{conf,out,cache,packages,workspace,extra}
# What lies over the packages: our programs, containers and files.
unsquashfs -quiet -no-progress -force -dest "$tools/bench/extra" "$work/warm/pxe/rootfs.squashfs" \
	usr/share/k8snode usr/bin/kubeadm usr/bin/kubelet usr/bin/kubectl usr/bin/etcd usr/bin/etcdctl usr/bin/etcdutl \
	usr/bin/containerd usr/bin/containerd-shim-runc-v2 usr/bin/ctr usr/bin/k8snode-agent usr/lib/cni usr/lib/sysctl.d >/dev/null
rm -rf "$work/warm"
{
	cat <<END
[Distribution]
Distribution=debian
Release=trixie
LocalMirror=$mirror
Repositories=main

[Output]
Format=disk
OutputDirectory=/bench/out

[Build]
CacheDirectory=/bench/cache
PackageCacheDirectory=/bench/packages
WorkspaceDirectory=/bench/workspace
Incremental=yes
History=no

[Content]
Bootable=yes
Bootloader=uki
WithDocs=no
ExtraTrees=/bench/extra
Packages=
        systemd-boot-efi
        linux-image-amd64
END
	awk '/^  packages:/ {on = 1; next} /^  [a-z]/ {on = 0} on && /^    - / {print "        " $2}' images/recipes/node.yaml
} >"$tools/bench/conf/mkosi.conf"

# 2. Fill mkosi's package cache, then measure both without and with layers.
set_sysctl 0
mkosi "with downloads"
rm -rf "$tools"/bench/cache/* "$tools"/bench/out/*
mkosi cold
set_sysctl 1
mkosi change

# A cache with the downloads and the compiled programs, and nothing else.
set_sysctl 0
mkdir -p "$work/cache/steps"
cp -al "$cache/sha256" "$work/cache/sha256"
bin/k8snode plan --recipe "$work/recipes/node.yaml" | awk '$1 == "module" {print $3}' | while read -r key; do
	mkdir -p "$work/cache/steps/${key:0:2}"
	cp "$cache/steps/${key:0:2}/$key"* "$work/cache/steps/${key:0:2}/"
done
ours cold "raw, zstd, pxe, iso"
set_sysctl 1
ours change "raw, zstd, pxe, iso"
set_sysctl 0
ours "change, disk.raw alone" raw
ours nothing raw

# 3. The table.
{
	cat <<END
\`scripts/bench.sh\`, $(this_machine), mkosi $(chroot "$tools" mkosi --version | sed 's/mkosi //').

Both make a bootable disk image from the same packages, the same mirror and the
same compiled programs, with everything fetched before. k8snode also makes the
compressed disk, the network boot set, the ISO, dm-verity, an SBOM, and verifies
them all, unless the row says otherwise; mkosi makes a disk with a file system
that is not compressed, and its kernel is the suite's own.

| tool | case | wall s | CPU s | peak RSS MiB | disk.raw MiB |
| --- | --- | --- | --- | --- | --- |
END
	printf '%s\n' "${rows[@]}"
	awk -v a="${wall[mkosi/change]}" -v b="${wall["k8snode/change, disk.raw alone"]}" \
		-v c="${wall[mkosi/cold]}" -v d="${wall[k8snode/cold]}" \
		'BEGIN {printf "\nA one-line change is %.1f times faster, to a verified disk.raw; a cold bake of all outputs %.2f times.\n", a / b, c / d}'
	echo
	echo 'Peak RSS is of the largest process, children included.'
} | section docs/benchmarks.md Baking
cat docs/benchmarks.md
