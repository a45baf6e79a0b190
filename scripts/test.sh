#!/usr/bin/env bash
# Runs the tests in stages, stops at the first that fails, and says how long
# each took.
#
# usage: test.sh [lint|unit|race|bake|again|boot|wholepath|boots]...
#        (default: all but boots, which is every boot there is)
#
# The boots and the whole path use the image in $OUT (out/node), which bake
# makes from the recipe $RECIPE (node). K8SNODE_ACCEL=kvm uses /dev/kvm.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

recipe=${RECIPE:-node}
out=${OUT:-out/$recipe}
summary=()
bake_took=0

stage_lint() { scripts/lint.sh; }

stage_unit() { go test ./...; }

# The packages with goroutines of their own.
stage_race() {
	go test -race -short ./provision/... ./agent/... ./builder/source/... ./internal/lab/... ./internal/cli
}

# The same inputs in another folder and with another user's settings; bakes that
# end in the middle; the recipe of upstream's releases.
stage_again() { e2e '^(TestReproducible|TestOutputs|TestBakeEndings|TestReleaseBake)$'; }

stage_bake() { make --no-print-directory image "RECIPE=$recipe" "OUT=$out"; }

# e2e runs the tests of the machines whose names match.
e2e() {
	go test -c -o bin/e2e.test ./e2e
	as_root bin/e2e.test -test.v -test.timeout=90m -test.run "$1" \
		-image "$out" -recipe "$recipe" -k8snode bin/k8snode "${@:2}"
}

# The long boot, the shortest with the other firmware, and the one that must fail.
stage_boot() { e2e '^TestBoot$/^(kubernetes|disk-bios|tampered)$'; }

# Every boot; the disk with large sectors is another image.
stage_boots() {
	bin/k8snode bake --recipe "$recipe" --set spec.disk.sectorSize=4096 --out "$out-4096" --agent bin/k8snode-agent
	e2e '^TestBoot' -image-4096 "$out-4096"
}

stage_wholepath() { e2e '^TestWholePath$' -bake-took "${bake_took}ms"; }

finish() {
	status=$?
	result=ok
	[ $status = 0 ] || result="FAILED in ${stage:-the start}"
	printf '\n==> %s: %s total %s s\n' "$result" "${summary[*]}" "$(seconds $(($(now) - began)))"
	exit $status
}

began=$(now)
trap finish EXIT
[ $# -gt 0 ] || set -- lint unit race bake again boot wholepath
scripts/host-packages.sh bake test
for stage in "$@"; do
	if ! declare -F "stage_$stage" >/dev/null; then
		echo "usage: test.sh [lint|unit|race|bake|again|boot|wholepath|boots]..." >&2
		exit 2
	fi
	printf '==> %s\n' "$stage"
	start=$(now)
	"stage_$stage"
	took=$(($(now) - start))
	[ "$stage" != bake ] || bake_took=$took
	summary+=("$stage $(seconds "$took") s,")
	printf '==> %s ok, %s s\n' "$stage" "$(seconds "$took")"
done
