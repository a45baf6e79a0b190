#!/usr/bin/env bash
# Makes the Packer plugin.
#
# usage: plugin.sh build      bin/packer-plugin-k8snode, with the agent in it
#        plugin.sh generate   hcl2spec, docs and .web-docs anew, from the source
#        plugin.sh check      fails if "generate" would change something
#        plugin.sh docs       docs.zip of a release, in the plugin's folder
#        plugin.sh packer     compiles Packer, for tests, and prints its path
#
# Packer comes from its Go module. Its licence keeps it out of what is shipped:
# it is a tool of the tests, and stays in the cache.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

plugin=plugins/packer-k8snode

# Packer takes a development version for no release that a template asks for.
version=${VERSION:-0.1.0}
prerelease=${PRERELEASE-dev}

build() {
	local agent=$plugin/agent/program/k8snode-agent
	if ! cmp -s bin/k8snode-agent "$agent"; then
		cp bin/k8snode-agent "$agent"
	fi
	local at=github.com/k8snode/k8snode/$plugin/version
	CGO_ENABLED=0 go build -C $plugin -trimpath -o "$PWD/bin/packer-plugin-k8snode" \
		-ldflags="-s -w -X $at.number=$version -X $at.prerelease=$prerelease" .
}

# generate DIR makes everything that is generated, below DIR, a copy of the
# plugin's folder.
generate() {
	local dir=$1 work sdc
	work=$(mktemp -d)
	# shellcheck disable=SC2064 # the folder of now
	trap "rm -rf '$work'" EXIT
	sdc=$work/packer-sdc
	go build -C $plugin -o "$sdc" github.com/hashicorp/packer-plugin-sdk/cmd/packer-sdc
	# The documentation tools know a plugin by the name of its folder.
	ln -s "$dir" "$work/packer-plugin-k8snode"
	(
		cd "$work/packer-plugin-k8snode"
		rm -rf docs-partials .web-docs
		local component file
		for file in builder/k8snode/config.go datasource/ignition/datasource.go post-processor/publish/config.go; do
			component=$(dirname "$file")
			(cd "$component" && GOFILE=$(basename "$file") "$sdc" struct-markdown)
		done
		"$sdc" renderdocs -src docs -dst "$work/rendered" -partials docs-partials
		webdocs "$work/rendered" .web-docs
	)
}

# webdocs FROM TO lays rendered documentation out as HashiCorp's site reads it.
webdocs() {
	local from=$1 to=$2 kind name page
	mkdir -p "$to"
	cp docs/metadata.hcl "$to/"
	cp "$from/README.md" "$to/"
	for kind in builders:builder datasources:data-source post-processors:post-processor; do
		for page in "$from/${kind%%:*}"/*.mdx; do
			name=$(basename "$page" .mdx)
			mkdir -p "$to/components/${kind##*:}/$name"
			# The site takes Markdown without front matter.
			awk 'n >= 2; /^---$/ { n++ }' "$page" >"$to/components/${kind##*:}/$name/README.md"
		done
	done
}

check() {
	local copy
	copy=$(mktemp -d)
	cp -r $plugin/. "$copy/"
	generate "$copy"
	(cd $plugin && go generate ./...)
	if ! diff -r $plugin/docs-partials "$copy/docs-partials" || ! diff -r $plugin/.web-docs "$copy/.web-docs" ||
		! git diff --exit-code -- "$plugin/**/*.hcl2spec.go"; then
		echo "plugin.sh: what is generated is not what is committed; run scripts/plugin.sh generate" >&2
		rm -rf "$copy"
		exit 1
	fi
	rm -rf "$copy"
}

# docs packs the rendered documentation as releases of plugins have it.
docs() {
	local work
	work=$(mktemp -d)
	# shellcheck disable=SC2064 # the folder of now
	trap "rm -rf '$work'" EXIT
	go build -C $plugin -o "$work/packer-sdc" github.com/hashicorp/packer-plugin-sdk/cmd/packer-sdc
	(cd $plugin && "$work/packer-sdc" renderdocs -src docs -dst "$work/docs" -partials docs-partials)
	rm -f $plugin/docs.zip
	(cd "$work" && zip -q -r -X - docs) >$plugin/docs.zip
}

packer() {
	local version bin
	version=$(go list -C scripts/packer -m -f '{{.Version}}' github.com/hashicorp/packer)
	bin=$cache/tools/packer-$version-$(go env GOVERSION)
	if [ ! -x "$bin" ]; then
		echo "plugin.sh: building Packer $version, for tests" >&2
		mkdir -p "$cache/tools"
		CGO_ENABLED=0 go build -C scripts/packer -trimpath -ldflags='-s -w' -o "$bin.$$" github.com/hashicorp/packer
		mv "$bin.$$" "$bin"
	fi
	echo "$bin"
}

case ${1:-} in
build) build ;;
generate)
	(cd $plugin && go generate ./...)
	generate "$PWD/$plugin"
	;;
check) check ;;
docs) docs ;;
packer) packer ;;
*)
	sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2
	exit 2
	;;
esac
