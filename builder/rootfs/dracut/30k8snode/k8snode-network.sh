#!/bin/sh
# Brings up the network of the initramfs, for whoever needs it first: the
# install, the root, or Ignition.
set -eu

udevadm settle --timeout=30
systemctl --no-block start systemd-networkd.service
# A switch port with spanning tree takes 50 s to forward, a bond 70 s.
if ! /usr/lib/systemd/systemd-networkd-wait-online --any --ipv4 --timeout=300; then
    echo "k8snode: no network interface got an address within 300 s: is a cable connected, does a DHCP server answer?" >&2
    exit 1
fi
# There is no resolver here: names are looked up where the lease says.
while IFS= read -r line; do
    case "$line" in
        DNS=*) for server in ${line#DNS=}; do echo "nameserver $server"; done ;;
    esac
done < /run/systemd/netif/state > /etc/resolv.conf
