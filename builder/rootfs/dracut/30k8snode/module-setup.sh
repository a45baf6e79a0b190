#!/bin/bash
# The initramfs of k8snode: one archive for the network installer, the first
# boot and every later boot. systemd alone drives it; dracut's own hooks and
# its initqueue are not in it (dracutModules in package rootfs).

check() {
    return 255 # only on request
}

depends() {
    echo systemd-initrd systemd-networkd systemd-udevd
}

installkernel() {
    # hostonly is off: every storage and network driver comes in by the modules
    # kernel-modules and kernel-network-modules. These are the file systems.
    instmods squashfs overlay xfs ext4 vfat isofs nls_cp437 nls_iso8859-1 nls_utf8
    # What the root is on, in, and checked by.
    instmods loop dm_mod dm_verity sr_mod sd_mod usb-storage uas
    # Configs from QEMU.
    instmods qemu_fw_cfg
    # What the firmware starts next, for an installer on a medium that stays there.
    instmods efivarfs
}

# shellcheck disable=SC2154 # moddir, initdir and systemdsystemunitdir are dracut's
install() {
    inst_multiple \
        mount umount cp mkdir touch rm cat sleep sync udevadm systemctl journalctl \
        dmsetup losetup \
        sgdisk partx blkid lsblk wipefs mkfs.xfs mkfs.ext4 mkfs.fat \
        groupadd groupdel groupmod useradd userdel usermod \
        ip modprobe mountpoint echo sh
    inst_simple "$moddir/ignition" /usr/bin/ignition
    inst_simple "$moddir/k8snode-agent" /usr/bin/k8snode-agent
    # Keys that an image must be signed with (spec.imageKeys).
    if [ -e "$moddir/image-keys" ]; then
        inst_simple "$moddir/image-keys" /etc/k8snode/image-keys || exit 1
    fi
    inst_script "$moddir/k8snode-sysroot.sh" /usr/libexec/k8snode/sysroot
    inst_script "$moddir/k8snode-hold.sh" /usr/libexec/k8snode/hold
    inst_script "$moddir/k8snode-network.sh" /usr/libexec/k8snode/network
    # dracut's own module for the device mapper brings its hooks along.
    inst_rules 55-dm.rules 60-persistent-storage-dm.rules 95-dm-notify.rules
    inst_simple "$moddir/90-k8snode-disk.rules" /usr/lib/udev/rules.d/90-k8snode-disk.rules
    inst_simple "$moddir/80-k8snode.network" /usr/lib/systemd/network/80-k8snode.network

    local unit
    for unit in "$moddir"/*.service "$moddir"/*.target; do
        inst_simple "$unit" "$systemdsystemunitdir/${unit##*/}"
    done
    inst_simple "$moddir/50-dev-mapper-root.conf" "$systemdsystemunitdir/dev-mapper-root.device.d/50-k8snode.conf"
    inst_simple "$moddir/50-sysroot.conf" "$systemdsystemunitdir/sysroot.mount.d/50-k8snode.conf"
    for unit in k8snode-root.service k8snode-seed.service ignition-complete.target; do
        $SYSTEMCTL -q --root="$initdir" add-requires initrd.target "$unit" || exit 1
    done
    $SYSTEMCTL -q --root="$initdir" add-requires initrd-root-fs.target k8snode-sysroot.service || exit 1

    # Networking is started by the units that need it, never on a plain boot.
    $SYSTEMCTL -q --root="$initdir" disable systemd-networkd.service systemd-networkd.socket \
        systemd-networkd-wait-online.service 2> /dev/null || :

    # A machine that cannot go on holds and says why; nobody gets a shell on
    # its console.
    ln -sf k8snode-hold.service "$initdir$systemdsystemunitdir/emergency.service"
    ln -sf k8snode-hold.service "$initdir$systemdsystemunitdir/rescue.service"

    # Ignition looks up users and groups in /sysroot, the programs that it
    # calls need their own defaults.
    inst_simple -o /etc/login.defs
    inst_simple -o /etc/default/useradd
}
