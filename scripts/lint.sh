#!/usr/bin/env bash
# Everything that is checked without running it: the format, go vet,
# golangci-lint and the shell scripts.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
	printf 'lint.sh: not in the format of gofmt:\n%s\n' "$unformatted" >&2
	exit 1
fi
for module in . plugins/packer-k8snode; do
	go vet -C "$module" ./...
	MODULE=$module scripts/golangci.sh run ./...
done
scripts/plugin.sh check
find . \( -path ./out -o -path ./.git \) -prune -o -type f -name '*.sh' -print0 |
	xargs -0 shellcheck .ci/run
