#!/usr/bin/env bash
# Runs the tests in stages, stops at the first that fails, and says how long
# each took.
#
# usage: test.sh [lint|unit|race|bake|again|packer|boot|cluster|wholepath|boots|ha|settings|provision|packer-all]...
#        (default: all but boots, which is every boot there is, ha, which is
#        everything that a cluster survives, provision, which is
#        machines that install themselves again and again, settings, which is what a cluster
#        document can ask for, and packer-all, which is every acceptance test of
#        the Packer plugin)
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

stage_unit() {
	go test ./...
	go test -C plugins/packer-k8snode ./...
}

# The packages with goroutines of their own.
stage_race() {
	go test -race -short ./provision/... ./agent/... ./builder/source/... ./internal/lab/... ./internal/cli
}

# The same inputs in another folder and with another user's settings; bakes that
# end in the middle; the recipe of upstream's releases. What the programs of the
# image say of the files that nodes get. Three members of its etcd, wiped in turn; three for
# several provisioning servers.
stage_again() { e2e '^(TestReproducible|TestOutputs|TestBakeEndings|TestReleaseBake|TestPrograms|TestCertificates|TestIgnition|TestEtcd|TestEtcdStore|TestPackaging|TestFleet|TestProxyDHCP)$'; }

stage_bake() { make --no-print-directory image "RECIPE=$recipe" "OUT=$out"; }

# e2e runs the tests of the machines whose names match.
e2e() {
	go test -c -o bin/e2e.test ./e2e
	as_root bin/e2e.test -test.v -test.timeout=90m -test.run "$1" \
		-image "$out" -recipe "$recipe" -k8snode bin/k8snode "${@:2}"
}

# acceptance runs the tests of the Packer plugin whose names match, with the
# real Packer.
acceptance() {
	local packer
	packer=$(scripts/plugin.sh packer)
	# A version of a release: Packer's init takes no other.
	PRERELEASE='' scripts/plugin.sh build
	go test -C plugins/packer-k8snode -c -o "$PWD/bin/acceptance.test" ./acceptance
	(
		cd plugins/packer-k8snode/acceptance
		as_root "$OLDPWD/bin/acceptance.test" -test.v -test.timeout=60m -test.run "$1" \
			-packer "$packer" -plugin "$OLDPWD/bin/packer-plugin-k8snode" -k8snode "$OLDPWD/bin/k8snode" \
			-agent "$OLDPWD/bin/k8snode-agent" -image "$(realpath "$OLDPWD/$out")" "${@:2}"
	)
}

stage_packer() { acceptance '^Test(Install|Describe|Validate|Plain|Provisioned|Cancelled|Config)$'; }

stage_packer-all() { acceptance . -node; }

# The disk with the firmware that the whole path does not have, and the boot that
# must fail.
stage_boot() { e2e '^TestBoot$/^(disk-bios|tampered)$'; }

# Three control planes and a worker; one control plane is wiped.
stage_cluster() { e2e '^TestCluster$'; }

# All that is taken from a cluster, and power cuts.
stage_ha() { e2e '^Test(HighAvailability|PowerCuts)$'; }

# Nodes with Docker, and with all else that a cluster document can ask for; bonds and
# IPVS want the image's own kernel.
stage_settings() {
	e2e '^Test(Docker|Settings)$'
	e2e '^TestBoot$/^kubernetes$'
}

# Every boot; the disk with large sectors is another image.
stage_boots() {
	bin/k8snode bake --recipe "$recipe" --set spec.disk.sectorSize=4096 --out "$out-4096" --agent bin/k8snode-agent
	e2e '^TestBoot' -image-4096 "$out-4096"
}

# Machines with empty disks and a real server; each is installed again, with the same
# image and with another one.
stage_provision() {
	bin/k8snode bake --recipe "$recipe" --set spec.journald.SystemMaxUse=512M --out "$out-next" --agent bin/k8snode-agent
	e2e '^Test(ISO|Provision|Single|Upgrade)$' -image-next "$out-next"
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
[ $# -gt 0 ] || set -- lint unit race bake again packer boot cluster wholepath
scripts/host-packages.sh bake test
for stage in "$@"; do
	if ! declare -F "stage_$stage" >/dev/null; then
		sed -n 's/^# usage: /usage: /p' "$0" >&2
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
