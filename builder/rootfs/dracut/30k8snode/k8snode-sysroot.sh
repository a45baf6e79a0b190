#!/bin/sh
# Mounts what can be written over the read-only root in /sysroot: /var is the
# state partition, /etc an overlay whose upper layer lives on it. Ignition makes
# the partition on the first boot; until then there is nothing to boot into.
set -eu

device=/dev/disk/by-partlabel/k8snode-state
if ! udevadm wait --timeout=30 "$device"; then
    echo "k8snode: this disk has an image but no identity: no seed was left on it and no state partition exists." >&2
    echo "k8snode: open an install window for this machine (k8snode arm NODE) and boot it from the network." >&2
    exit 1
fi

state=/run/k8snode/state
mkdir -p "$state"
mount -t xfs -o noatime "$device" "$state"
if [ ! -e "$state/lib/k8snode/var.done" ]; then
    # The packages' own content of /var, once.
    cp -a /sysroot/var/. "$state/"
    mkdir -p "$state/lib/k8snode/etc/upper" "$state/lib/k8snode/etc/work"
    touch "$state/lib/k8snode/var.done"
    sync
fi
mount --bind "$state" /sysroot/var
umount "$state"
mount -t overlay overlay \
    -o lowerdir=/sysroot/etc,upperdir=/sysroot/var/lib/k8snode/etc/upper,workdir=/sysroot/var/lib/k8snode/etc/work \
    /sysroot/etc
