#!/bin/sh
# Becomes a User-Mode Linux machine, in the mount namespace of "ip netns exec",
# whose mounts end with it.
#
# usage: uml.sh DIR KERNEL LIBRARIES DISK[:DISK...] INITRD MEMORY_MIB ARGUMENT...
#
# The kernel sees a root of its own, because it needs a newer C library than
# the host may have, and because it shows that root to the guest (hostfs):
#
#   /kernel    linux and modules/        /lib64     the C library
#   /disk0...  the disks                 /tmp       the memory, on a tmpfs
#   /initrd    the initramfs
set -eu
dir=$1 kernel=$2 libraries=$3 disks=$4 initrd=$5 memory=$6
shift 6

root=$dir/root
mkdir -p "$root"
mount -t tmpfs -o mode=0755,size=1m k8snode-lab "$root"
cd "$root"
mkdir proc dev tmp kernel lib64
ln -s lib64 lib
touch initrd
mount -t proc proc proc
mount --rbind /dev dev
# What the guest does not use is not taken from the host.
mount -t tmpfs -o "mode=1777,size=$((memory + 64))m" k8snode-lab-memory tmp
mount --bind "$kernel" kernel
mount -o remount,bind,ro kernel
mount --bind "$libraries" lib64
mount -o remount,bind,ro lib64
i=0
while [ -n "$disks" ]; do
	disk=${disks%%:*}
	touch "disk$i"
	mount --bind "$disk" "disk$i"
	i=$((i + 1))
	case $disks in *:*) disks=${disks#*:} ;; *) disks= ;; esac
done
mount --bind "$initrd" initrd

# The guest's second serial line: requests in, answers out. Both ends are held
# open, so that nothing waits for somebody to listen.
exec 3<>"$dir/guest.in" 4<>"$dir/guest.out"
# The kernel's threads are processes of the host: they end with the first one.
exec env -i "PATH=$PATH" HOME=/tmp TMPDIR=/tmp \
	unshare --pid --fork --kill-child --mount-proc="$root/proc" chroot "$root" /kernel/linux "$@"
