#!/usr/bin/env bash
# Measures a provisioning server on this machine, and writes the sections of
# docs/benchmarks.md that are about it.
#
# usage: bench-serve.sh [serve|fleet]...      (default: both)
#
#   serve   what it costs to send an image, and an install beside curl, zstd and dd
#   fleet   machines that are not there, by the thousand ($FLEETS: 150 1000 4500)
#
# Both use the image in $OUT (out/node).
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

page=docs/benchmarks.md
out=${OUT:-out/node}
log=$cache/bench/last.log

# measured TEST [FLAG]...: runs a test of e2e, and prints the rows that it has.
measured() {
	local test=$1
	shift
	if ! as_root bin/e2e.test -test.run "^$test\$" -test.v -test.timeout 60m -image "$out" -recipe node -k8snode bin/k8snode "$@" >"$log" 2>&1; then
		tail -20 "$log" >&2
		echo "bench-serve.sh: $test failed; all of its output is in $log" >&2
		exit 1
	fi
	sed -n 's/^.*: row |/|/p' "$log"
}

stage_serve() {
	local serving installing
	serving=$(measured TestServing)
	installing=$(measured TestInstalling)
	section "$page" "Serving and installing" <<END
\`scripts/bench-serve.sh serve\`, $(this_machine).

\`k8snode serve\` sends \`disk.raw.zst\` on the loopback, out of the kernel's cache, to
readers on the same processors. CPU s is what its process used, so the last column is
what one core carries; it wants 1,000.

| sent | MB | MB per wall s | CPU s of the server | MB per CPU s |
| --- | --- | --- | --- | --- |
$serving

The same image, from the same server, onto a file. The agent checks every range against
its digest, reads all of it back, and writes what is not zeros; zeros are the device's to
make (BLKZEROOUT), and here the file system's.

| installed by | wall s | MB written | checked and read back |
| --- | --- | --- | --- |
$installing
END
}

stage_fleet() {
	local rows="" count
	for count in ${FLEETS:-150 1000 4500}; do
		rows+=$(measured TestFleet -machines "$count")$'\n'
	done
	section "$page" "A rack of machines" <<END
\`scripts/bench-serve.sh fleet\`, $(this_machine).

Machines that are not there go from armed to ready through one server, each from its own
address, while connections break, thieves ask, and the server is killed twice. They run on
the same processors.

| machines | wall s | per minute | RSS of the server MiB | wrong, double, stolen or replayed |
| --- | --- | --- | --- | --- |
${rows%$'\n'}
END
}

scripts/host-packages.sh bake test
make --no-print-directory build
mkdir -p bin "$cache/bench"
go test -c -o bin/e2e.test ./e2e
[ -e "$out/manifest.json" ] || bin/k8snode bake --recipe node --out "$out" --agent bin/k8snode-agent

[ $# -gt 0 ] || set -- serve fleet
for stage in "$@"; do
	case $stage in
	serve | fleet) "stage_$stage" ;;
	*)
		echo "usage: bench-serve.sh [serve|fleet]..." >&2
		exit 2
		;;
	esac
done
cat "$page"
