#!/usr/bin/env bash
# Starts or stops the test cluster.
#
# usage: lab.sh start|stop
#
# It uses the image in $OUT (out/node).
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

out=${OUT:-out/${RECIPE:-node}}
go build -o bin/lab ./internal/lab/cmd/lab
case ${1:-} in
start)
	if [ ! -f "$out/manifest.json" ]; then
		echo "lab.sh: there is no image in $out; run: make image" >&2
		exit 1
	fi
	scripts/host-packages.sh test
	as_root bin/lab start -image "$out" -k8snode bin/k8snode
	;;
stop) as_root bin/lab stop ;;
*)
	echo "usage: lab.sh start|stop" >&2
	exit 2
	;;
esac
