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

# section PAGE HEADING: that section of a page becomes what standard input has.
section() {
	text=$(cat) heading="## $2" awk '
		$0 == ENVIRON["heading"] {print $0 "\n\n" ENVIRON["text"] "\n"; skip = 1; found = 1; next}
		/^## / {skip = 0}
		!skip {print}
		END {if (!found) print "\n" ENVIRON["heading"] "\n\n" ENVIRON["text"] "\n"}' "$1" |
		cat -s | sed -e '${/^$/d}' >"$1.new"
	mv "$1.new" "$1"
}

# this_machine prints when and on what something was measured.
this_machine() {
	echo "$(date --utc +%Y-%m-%d), $(nproc) cores ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1))"
}
