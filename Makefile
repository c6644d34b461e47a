# What a developer runs, and what continuous integration runs. `make help` lists the targets.
#
# Two commands are enough for a newcomer: `make demo` and `make test`. Everything that is built besides this crate
# (the control plane for the tests) goes to $(CACHE), outside the repository, and is used again.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

CACHE := $(or $(POINTSMAN_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pointsman)
export POINTSMAN_CACHE := $(CACHE)

# Every `[[test]]` of Cargo.toml except those that need tools built from Go modules, or Debian packages.
FAST_TESTS := $(filter-out control_plane storm fabric packaging bundle page,$(shell awk '/^\[\[test\]\]/ {test = 1; next} /^\[/ {test = 0} \
	test && /^name *=/ {gsub(/"/, "", $$3); print $$3}' Cargo.toml))

# The Subnet Manager, the simulated fabric it manages, the tools that dump it, and what runs a recipe of the docs.
FABRIC_PACKAGES := opensm ibsim-utils infiniband-diags python3

DEMO := manifests/examples/demo

# Inside target/, which is not tracked.
DIST := target/bundle
HOST_ARCHITECTURE := $(if $(filter aarch64,$(shell uname -m)),arm64,amd64)
OTHER_ARCHITECTURE := $(if $(filter arm64,$(HOST_ARCHITECTURE)),amd64,arm64)
OTHER_MACHINE := $(if $(filter arm64,$(HOST_ARCHITECTURE)),x86_64,aarch64)
# A compiler for the architecture that this machine is not of, and what runs its programs here.
CROSS_PACKAGES := gcc-$(subst _,-,$(OTHER_MACHINE))-linux-gnu libc6-dev-$(OTHER_ARCHITECTURE)-cross
EMULATOR := qemu-$(OTHER_MACHINE)-static

# One sentence for each thing that a fresh machine may lack; nothing is skipped because of it.
missing = { echo "pointsman: $(1)" >&2; exit 1; }
rust = command -v cargo >/dev/null || $(call missing,Rust is missing: install it with rustup from https://rustup.rs.); \
	command -v cc >/dev/null || $(call missing,a C compiler is missing: install it with 'apt-get install build-essential'.)
component = cargo $(1) --version >/dev/null 2>&1 || $(call missing,cargo $(1) is missing: install it with 'rustup component add $(2)'.)
go = command -v go >/dev/null || $(call missing,Go is missing: install 1.26 or later from https://go.dev/dl.)

bundle_tools = command -v git >/dev/null || $(call missing,git is missing: install it with 'apt-get install git'.); \
	test -e "$$(cc -print-file-name=libc.a)" || $(call missing,the static C library is missing: install it with 'apt-get install libc6-dev'.)

# The other architecture, where the machine lets itself be fitted for it; where not, packaging/bundle says what it leaves out.
cross_tools = { command -v rustup >/dev/null && rustup target add $(OTHER_MACHINE)-unknown-linux-gnu; } >/dev/null 2>&1 || true; \
	[ -e "$$($(OTHER_MACHINE)-linux-gnu-gcc -print-file-name=libc.a 2>/dev/null)" ] || { [ "$$(id -u)" = 0 ] && \
	command -v apt-get >/dev/null && { apt-get update -q && \
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(CROSS_PACKAGES); } >&2; } || true

emulator = [ ! -e $(DIST)/pointsman-*/bin/pointsman-linux-$(OTHER_ARCHITECTURE) ] || command -v $(EMULATOR) >/dev/null \
	|| { apt-get update && apt-get install -y --no-install-recommends qemu-user-static; } >/dev/null 2>&1 \
	|| $(call missing,$(EMULATOR) is missing: install it with 'apt-get install qemu-user-static'.)

# A real OpenSM on a simulated fabric. Debian packages: root gets them installed, others are told.
fabric_tools = export PATH="$$PATH:/usr/sbin:/sbin"; \
	has_fabric_tools() { for tool in opensm ibsim ibnetdiscover iblinkinfo python3; do command -v $$tool >/dev/null || return 1; done; }; \
	has_fabric_tools || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { apt-get update -q && \
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(FABRIC_PACKAGES); } >&2; } || true; \
	has_fabric_tools || $(call missing,OpenSM and its simulator are missing: install them with 'apt-get install $(FABRIC_PACKAGES)'.)

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Admit and place an example workload on an example cluster: no Kubernetes needed (SERVE=1 shows the page, too)
	@$(rust)
	@cargo build --quiet
	@echo "The nodes, networks and pods in $(DEMO), admitted and placed by the code that 'pointsman serve' runs:"; echo
	@cargo run --quiet -- simulate $(if $(SERVE),--serve 127.0.0.1:8080) $(DEMO) || test $$? -eq 1 # 1: some pods of the example are meant to be turned down

.PHONY: kubectl-plugin
kubectl-plugin: ## Build the program and link it as kubectl's plugin: put target/release into PATH
	@$(rust)
	cargo build --release --bin pointsman
	ln -sf pointsman target/release/kubectl-pointsman
	@echo "export PATH=$(CURDIR)/target/release:\$$PATH   # then: kubectl pointsman explain POD"

.PHONY: test
test: fast page fabric packaging control-plane storm-short bench-short ## Everything, the tests on a real control plane included

.PHONY: fast
fast: lint unit doc ## Everything that needs no control plane

.PHONY: lint
lint: ## Format and clippy, warnings are errors
	@$(rust); $(call component,fmt,rustfmt); $(call component,clippy,clippy)
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

.PHONY: unit
unit: ## Unit, scenario and repository tests
	@$(rust)
	cargo test --no-fail-fast --lib --bins $(addprefix --test ,$(FAST_TESTS))
	cargo test --no-fail-fast --doc

.PHONY: fuzz
fuzz: ## Random inputs for a long time: N=1000000 for each target, SEED=... to repeat, TARGET=... for one
	@$(rust)
	FUZZ_INPUTS=$(or $(N),1000000) FUZZ_SEED=$(or $(SEED),$(shell date +%s)) cargo test --no-fail-fast --test fuzz $(TARGET)

# Debian's packages; where they are missing and cannot be installed, one sentence says so.
.PHONY: browser
browser:
	@{ command -v chromium && command -v chromedriver; } >/dev/null \
		|| { apt-get update && apt-get install -y --no-install-recommends chromium chromium-driver; } >/dev/null 2>&1 \
		|| $(call missing,Chromium is missing: install it with 'apt-get install chromium chromium-driver'.)

.PHONY: page
page: browser ## The admin endpoint's page in a real Chromium
	@$(rust)
	cargo test --no-fail-fast --test page

.PHONY: screenshot
screenshot: browser ## Take docs/page.png anew
	@$(rust)
	POINTSMAN_SCREENSHOT=docs/page.png cargo test --test page the_example_cluster

.PHONY: doc
doc: ## API documentation, warnings are errors
	@$(rust)
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --lib

.PHONY: deny
deny: ## Licences, sources and duplicates of the dependencies (a part of unit, too)
	@$(rust)
	cargo test --test dependencies

.PHONY: bless
bless: ## Accept what the snapshot tests see now (read the difference before you commit it)
	@$(rust)
	INSTA_UPDATE=always INSTA_FORCE_PASS=1 cargo test --no-fail-fast --lib --bins $(addprefix --test ,$(FAST_TESTS))

.PHONY: fabric
fabric: ## The tests on live dumps of a real OpenSM (Debian packages, no root)
	@$(fabric_tools)
	@$(rust)
	cargo test --no-fail-fast --test fabric

.PHONY: routing
routing: ## What placement and rank order do to the links of a fabric, by OpenSM's forwarding tables
	@$(fabric_tools)
	@$(rust)
	@cargo run --quiet --example routing

.PHONY: bench-topology
bench-topology: ## How long a dump of 1,984 hosts with 4 rails takes to read and to compare
	@$(rust)
	cargo bench --quiet --bench topology

.PHONY: tools
tools: ## Build the control plane, KWOK, Spiderpool, Helm and others from their Go modules, into the cache
	@$(go)
	@tests/control_plane/tools/build
	@tests/packaging/tools/build

.PHONY: packaging
packaging: tools ## Chart, manifests, rules and dashboard, judged by Helm, kubeconform and promtool; a bundle, unpacked and run
	@$(rust); $(bundle_tools)
	cargo test --no-fail-fast --test packaging
	@mkdir -p $(DIST)/quick
	PROFILE=dev ARCHITECTURES=$(HOST_ARCHITECTURE) packaging/bundle $(DIST)/quick
	POINTSMAN_BUNDLE=$(abspath $(DIST)/quick) cargo test --no-fail-fast --test bundle

# The second assembly has to give the same bytes; `make bundle-reproducible` builds the binary again, too.
.PHONY: bundle
bundle: ## One file for installing without a network: image, chart, manifests, dashboards, checksums
	@$(rust); $(bundle_tools); $(cross_tools)
	@mkdir -p $(DIST)
	packaging/bundle $(DIST)
	@again=$$(mktemp -d); trap 'rm -rf "$$again"' EXIT; packaging/bundle "$$again" >/dev/null; \
		cmp "$$again"/*-bundle.tar $(DIST)/*-bundle.tar && sha256sum $(DIST)/*-bundle.tar

.PHONY: bundle-test
bundle-test: bundle tools ## Unpack the bundle, check its image with crane, run the binary from it
	@$(emulator)
	POINTSMAN_BUNDLE=$(abspath $(DIST)) cargo test --test bundle

# From a copy of the sources in another folder, with nothing built before: as long as two release builds.
.PHONY: bundle-reproducible
bundle-reproducible: bundle ## Build it all again elsewhere, and compare
	@copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; git clone --quiet . "$$copy/elsewhere"; \
		(cd "$$copy/elsewhere" && CARGO_TARGET_DIR="$$copy/target" packaging/bundle "$$copy/out"); \
		cmp "$$copy"/out/*-bundle.tar $(DIST)/*-bundle.tar && echo "the same bytes"

.PHONY: manifests
manifests: tools ## Render the plain manifests from the chart
	@$(rust)
	POINTSMAN_BLESS=1 cargo test --quiet --test packaging the_plain_manifests

# The tests mostly wait for the cluster, so many of them share few cores well.
.PHONY: control-plane
control-plane: tools ## The tests on a real control plane
	@$(fabric_tools)
	@$(rust)
	RUST_TEST_THREADS=8 cargo test --no-fail-fast --test control_plane

# A clock that can be set. A Debian package: root gets it installed, others are told by the test.
.PHONY: clock
clock:
	@ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends libfaketime; } >&2; } || true

.PHONY: storm
storm: tools clock ## One storm of faults over 300 pods on the real parts: make storm SEED=7 (FAULTS=44 for a longer one)
	@$(rust)
	cargo test --test storm -- --nocapture

.PHONY: storm-short
storm-short: tools ## A short storm of mild faults, one at a time (a part of test)
	@$(rust)
	STORM=short cargo test --test storm

.PHONY: scheduler-config-versions
scheduler-config-versions: ## Show that kube-schedulers of three minors take what scheduler-config prints (not part of test)
	@$(rust); $(go)
	cargo build --quiet --bin pointsman
	@tests/control_plane/tools/scheduler-versions target/debug/pointsman

.PHONY: bench
bench: ## Measure serve beside reference servers, and rewrite the table of docs/performance.md (needs two idle cores)
	@$(rust)
	go=$$(benches/serve/go/build) && POINTSMAN_BENCH_GO=$$go cargo bench --bench serve -- full

.PHONY: bench-short
bench-short: ## The same on a small cluster, without Go; fails when a ratio is grossly off (a part of test)
	@$(rust)
	cargo bench --profile quick --bench serve -- short

.PHONY: bench-decide
bench-decide: ## The decisions alone, with what they allocate
	@$(rust)
	cargo bench --profile quick --bench decide

.PHONY: bench-scheduler
bench-scheduler: tools ## Pods a second through a real kube-scheduler, into docs/performance.md (a quarter of an hour, idle cores)
	@$(rust)
	cargo build --quiet --profile quick --bin pointsman --example cluster
	cargo run --quiet --profile quick --example cluster throughput

.PHONY: soak
soak: ## Pods come and go at RATE=200 a second for MINUTES=30: memory and descriptors flat, nothing drifts, nothing is left
	@$(rust)
	cargo bench --bench serve -- soak $(or $(MINUTES),30) $(or $(RATE),200)

.PHONY: placement
placement: tools ## Measure how well gangs are placed, against kube-scheduler alone, into docs/placement.md (minutes)
	@$(rust)
	cargo build --quiet --bin pointsman --example cluster
	cargo run --quiet --example cluster placement

.PHONY: record
record: tools ## Record what the real apiserver and scheduler send into tests/fixtures/recorded
	@$(rust)
	cargo build --quiet --bin pointsman --example cluster
	cargo run --quiet --example cluster record

.PHONY: cluster
cluster: tools ## Start a control plane with fake InfiniBand nodes to play with
	@$(rust)
	@tests/control_plane/tools/cluster up

.PHONY: cluster-down
cluster-down: ## End it
	@tests/control_plane/tools/cluster down
