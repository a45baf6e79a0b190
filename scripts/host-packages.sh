#!/usr/bin/env bash
# Sees that the host has the Debian packages that baking and testing need.
#
# usage: host-packages.sh [bake|test|bench]...      (default: bake test)
#
# It installs what is missing when it may (as root), and else prints the one
# command to run and exits with 2. Where all is there it is done at once.
set -euo pipefail

bake=(
	apt
	binutils
	cpio
	debian-archive-keyring
	dosfstools
	gcc
	libblkid-dev
	libc6-dev
	libseccomp-dev
	mmdebstrap
	pkg-config
	squashfs-tools
	xorriso
	zstd
)
test=(
	chromium-headless-shell
	cryptsetup-bin
	dnsmasq-base
	dosfstools
	gcc
	gdisk
	grub-efi-amd64-bin
	grub-pc-bin
	iproute2
	ipmitool
	libc6-dev
	minisign
	nftables
	openipmi
	ovmf
	qemu-system-x86
	qemu-utils
	shellcheck
	squashfs-tools
	xorriso
)
bench=(
	mmdebstrap
	squashfs-tools
	time
)

[ $# -gt 0 ] || set -- bake test
wanted=()
for purpose in "$@"; do
	case $purpose in
	bake) wanted+=("${bake[@]}") ;;
	test) wanted+=("${test[@]}") ;;
	bench) wanted+=("${bench[@]}") ;;
	*)
		echo "usage: host-packages.sh [bake|test|bench]..." >&2
		exit 2
		;;
	esac
done

if ! command -v dpkg-query >/dev/null; then
	echo "host-packages.sh: this is not a Debian host; needed are the equivalents of: ${wanted[*]}" >&2
	exit 2
fi

installed=$(dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
while read -r package; do
	grep -qx "installed $package" <<<"$installed" || missing+=("$package")
done < <(printf '%s\n' "${wanted[@]}" | sort -u)
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "host-packages.sh: packages are missing; run: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
	exit 2
fi
echo "host-packages.sh: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install=(apt-get install --yes --quiet --no-install-recommends "${missing[@]}")
# Without package lists, or with old ones, the first try fails.
"${install[@]}" || { apt-get update --quiet && "${install[@]}"; }
