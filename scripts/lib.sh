# shellcheck shell=bash
# What the scripts share: where things are, and how a run is timed. Sourced.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

# Caches live outside the checkout.
# shellcheck disable=SC2034 # used by the scripts
cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/k8snode

# now prints the time in milliseconds.
now() {
	echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# seconds prints milliseconds as seconds.
seconds() {
	printf '%d.%d' $(($1 / 1000)) $(($1 % 1000 / 100))
}

# as_root runs a command as root, through sudo if need be.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo --preserve-env=K8SNODE_ACCEL "$@"
	fi
}
