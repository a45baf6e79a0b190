#!/usr/bin/env bash
# Runs the pinned golangci-lint with the given arguments, in the Go module of the
# folder $MODULE (the root). The first run builds it, with Go's checksum database
# as the guard; it is kept in the cache, by version.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

version=v2.15.0
bin=$cache/tools/golangci-lint-$version-$(go env GOVERSION)

if [ ! -x "$bin/golangci-lint" ]; then
	echo "golangci.sh: building golangci-lint $version" >&2
	mkdir -p "$cache/tools"
	building=$(mktemp -d "$bin.XXXXXX")
	trap 'rm -rf "$building"' EXIT
	GOBIN=$building GOFLAGS="" go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
	mkdir -p "$bin"
	mv "$building/golangci-lint" "$bin/golangci-lint"
fi
config=$PWD/.golangci.yml
cd "${MODULE:-.}"
GOLANGCI_LINT_CACHE=$cache/golangci-lint exec "$bin/golangci-lint" "$@" --config "$config"
