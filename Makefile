# The logic is in scripts/; "make help" lists what there is.

RECIPE ?= node
OUT    ?= out/$(RECIPE)
export RECIPE OUT

.DEFAULT_GOAL := help
.PHONY: help packages build plugin image check test test-boot test-ha test-settings test-provision test-packer fuzz bench lint unit race wholepath golden lab lab-stop clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  RECIPE=node      recipe to bake: an embedded one, or a file"
	@echo "  OUT=out/node     where the image goes"
	@echo "  FUZZTIME=30s     how long each fuzz test runs"
	@echo "  K8SNODE_ACCEL=   tcg (default) or kvm: how test machines run"

packages: ## install the Debian packages that baking and testing need
	scripts/host-packages.sh bake test

build: ## compile bin/k8snode and bin/k8snode-agent, both static
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/ ./cmd/k8snode
	@# The agent is in the image: it changes with its source, not with the commit.
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w' -o bin/ ./cmd/k8snode-agent

plugin: build ## compile bin/packer-plugin-k8snode, with the agent in it
	scripts/plugin.sh build

image: build ## bake $(RECIPE) into $(OUT)
	scripts/host-packages.sh bake
	bin/k8snode bake --recipe $(RECIPE) --out $(OUT) --agent bin/k8snode-agent

check: ## lint and unit tests, before every commit
	scripts/test.sh lint unit

test: ## everything: lint, unit, race, bake (twice), Packer, boots, clusters of processes and of machines
	scripts/test.sh

test-boot: image ## boot the image in every way: firmware, media, sectors, power cut
	scripts/test.sh boots

test-ha: image ## what a highly available cluster survives: disks, power, programs, cables
	scripts/test.sh ha

test-settings: image ## nodes with what a cluster document can ask for: docker, disks, bonds, IPVS, a restored etcd
	scripts/test.sh settings

test-provision: image ## machines install themselves from empty disks, and again, through power cuts
	scripts/test.sh provision

test-packer: image ## the Packer plugin with the real Packer, node.yaml too
	scripts/test.sh packer-all

fuzz: ## run every fuzz test for FUZZTIME (30s) each
	scripts/fuzz.sh

bench: ## measure a bake, a server, an install and a fleet, write docs/benchmarks.md
	scripts/bench.sh
	scripts/bench-serve.sh

lint: ## gofmt, go vet, golangci-lint, shellcheck
	scripts/lint.sh

unit: ## unit tests
	scripts/test.sh unit

race: ## tests of the concurrent packages under the race detector
	scripts/test.sh race

wholepath: build ## the whole path alone, with the image in $(OUT)
	scripts/test.sh wholepath

golden: ## write the golden files anew, for review
	scripts/golden.sh

lab: build ## start the test cluster and leave it running
	scripts/lab.sh start

lab-stop: ## stop the test cluster
	scripts/lab.sh stop

clean: ## remove what was compiled and baked; caches stay
	rm -rf bin out
