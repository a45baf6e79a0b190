#!/bin/sh
# Stops everything that a lab network started, once its owner is gone.
#
# usage: guard.sh STATE_FOLDER NAMESPACE
#
# The owner holds the other end of standard input. The line "release" means that
# it cleaned up itself (or that the network is to be kept); the end of the
# input without that line means that it died.
state=$1
namespace=$2

if IFS= read -r word && [ "$word" = release ]; then
	exit 0
fi

while read -r pid started _label; do
	stat=$(cat "/proc/$pid/stat" 2>/dev/null) || continue
	# The fields after the command's name, which may hold spaces; the 20th of
	# them is the start time, proc(5).
	# shellcheck disable=SC2086
	set -- ${stat##*) }
	if [ "${20}" = "$started" ]; then
		kill -KILL "$pid"
	fi
done <"$state/processes"

for pid in $(ip netns pids "$namespace"); do
	kill -KILL "$pid"
done
ip netns delete "$namespace"
rm -rf -- "$state"
