#!/bin/sh
# Mounts what can be written over the read-only root in /sysroot: /var is the
# state partition or, when nothing shall be kept, a tmpfs; /etc is an overlay
# whose upper layer lives on it. STATE and STATE_DEVICE are what the agent
# decided (/run/k8snode/boot.env).
set -eu

new=/run/k8snode/state
mkdir -p "$new"
if [ "$STATE" = disk ]; then
    if ! udevadm wait --timeout=30 "$STATE_DEVICE"; then
        echo "k8snode: there is no state partition: a config for k8snode.state=disk must make one with the label k8snode-state." >&2
        exit 1
    fi
    mount -t xfs -o noatime "$STATE_DEVICE" "$new"
else
    mount -t tmpfs -o mode=0755,size=50% k8snode-state "$new"
fi
if [ -e /run/k8snode/firstboot ]; then
    # What an interrupted first boot, or an earlier installation, changed in
    # /etc. The config made the file system anew, or it meant to keep /var.
    rm -rf "$new/lib/k8snode/etc" "$new/lib/k8snode/var.done"
fi
if [ ! -e "$new/lib/k8snode/var.done" ]; then
    # The packages' own content of /var, once.
    cp -a /sysroot/var/. "$new/"
    mkdir -p "$new/lib/k8snode/etc/upper" "$new/lib/k8snode/etc/work"
    touch "$new/lib/k8snode/var.done"
    sync
fi
mount --bind "$new" /sysroot/var
umount "$new"
mount -t overlay overlay \
    -o lowerdir=/sysroot/etc,upperdir=/sysroot/var/lib/k8snode/etc/upper,workdir=/sysroot/var/lib/k8snode/etc/work \
    /sysroot/etc
