# shellcheck shell=sh
# Makes the mounts that programs expect, in a mount namespace of its own, and
# runs a command in the root. Arguments: the root, the host's resolv.conf or
# nothing, and the command.
set -eu
root=$1 resolv=$2
shift 2

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"

mount -t tmpfs -o mode=0755,nosuid tmpfs "$root/dev"
for node in null zero full random urandom tty; do
	: >"$root/dev/$node"
	mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"

mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs "$root/run"
mkdir -p "$root/run/lock" "$root/run/systemd/resolve"
if [ -n "$resolv" ]; then
	cp "$resolv" "$root/run/systemd/resolve/stub-resolv.conf"
	cp "$resolv" "$root/run/systemd/resolve/resolv.conf"
fi

exec chroot "$root" "$@"
