#!/usr/bin/env bash
# Runs every fuzz test for a while, and stops at the first that finds something;
# what it found is then in the testdata of its package, and part of the unit tests.
#
# usage: fuzz.sh [PACKAGE-PATTERN]...      (default: ./...)
#
# Each takes $FUZZTIME (30s), on one processor.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

fuzztime=${FUZZTIME:-30s}
[ $# -gt 0 ] || set -- ./...

began=$(now)
count=0
while read -r package folder; do
	while read -r name; do
		printf '==> %s %s\n' "${package#*/*/*/}" "$name"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" -parallel 1 "$package" | tail -n 3
		count=$((count + 1))
	done < <(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$folder"/*_test.go 2>/dev/null | sort)
done < <(go list -f '{{.ImportPath}} {{.Dir}}' "$@")
printf '\n==> %d fuzz tests, %s s\n' "$count" "$(seconds $(($(now) - began)))"
