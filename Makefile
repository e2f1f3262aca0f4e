# cpm.so: build, install, try, test. `make help` lists all targets. PROXY=opensips builds and
# installs for OpenSIPS, whose binary and source tree are named by OPENSIPS and OPENSIPS_SRC.

CARGO ?= cargo
# The proxy that the module is for: kamailio or opensips.
PROXY ?= kamailio
module := target/$(PROXY)/cpm.so
# Where cargo builds the module; the module of another Debian release is built elsewhere (tools/matrix).
module_target ?= target/module$(if $(filter-out kamailio,$(PROXY)),-$(PROXY))

# The order of prerequisites matters: missing packages are installed first.
.NOTPARALLEL:

.PHONY: all
all: build

.PHONY: help
help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

.PHONY: deps
deps: ## installs missing packages for building and testing
	@tools/deps

.PHONY: headers
headers: ## the source of the installed Kamailio, in .cache (or KAMAILIO_SRC)
	@tools/headers

# A separate target directory: if it were shared with the tests or another proxy's module, which are
# built with other features, each build would undo the other's. A separate folder can be used as a
# module path. The file is replaced, never written into: a proxy may have the old one mapped.
.PHONY: build
build: $(if $(filter kamailio,$(PROXY)),headers) ## the module, target/kamailio/cpm.so (PROXY=opensips: with OPENSIPS and OPENSIPS_SRC)
	$(CARGO) build --release --lib --features $(PROXY) --target-dir $(module_target)
	@mkdir -p $(dir $(module))
	@cmp -s $(module_target)/release/libcpm.so $(module) || \
		{ cp $(module_target)/release/libcpm.so $(module).new && mv $(module).new $(module); }

.PHONY: install
install: ## the module, to where the proxy looks for it (PROXY, DESTDIR, MODULES_DIR)
	@test -e $(module) || { echo "nothing to install: run \`make PROXY=$(PROXY)\` first" >&2; exit 1; }
	@tools/install $(PROXY)

.PHONY: deb
deb: deps ## Debian packages of the module and of cpm-client, in target/debian (PROXY=opensips: its module)
	@tools/deps deb
	@tools/deb $(filter-out kamailio,$(PROXY))

.PHONY: deb-source
deb-source: deps ## a Debian source package, which builds without a network, in target/debian
	@tools/deps deb
	@tools/deb source

.PHONY: demo
demo: deps build ## a demonstration on real traffic
	@$(CARGO) build --quiet --package cpm-client
	@$(CARGO) run --quiet --example demo

.PHONY: client
client: ## cpm-client, with its man pages and completion scripts, in target/client
	$(CARGO) build --profile client --package cpm-client
	@target/client/cpm-client man target/client/man1
	@target/client/cpm-client completion bash >target/client/cpm-client.bash
	@target/client/cpm-client completion zsh >target/client/_cpm-client
	@target/client/cpm-client completion fish >target/client/cpm-client.fish

# Where the tests record the requirements that they prove, for each proxy.
conformance := $(CURDIR)/target/conformance
new_proofs = rm -rf $(conformance)/$(1) && mkdir -p $(conformance)/$(1)
judge := $(CARGO) run --quiet --package xtask -- conformance

.PHONY: test
test: deps lint ## all tests, with Kamailio, and with OpenSIPS if available (OPENSIPS, OPENSIPS_SRC)
	@$(MAKE) --no-print-directory build PROXY=kamailio
	@$(call new_proofs,kamailio)
	PROXY=kamailio CPM_PROOFS=$(conformance)/kamailio $(CARGO) test --workspace
	@$(judge) --brief $(conformance) kamailio
	@$(MAKE) --no-print-directory test-e2e PROXY=opensips

.PHONY: test-e2e
test-e2e: deps ## the end-to-end tests, with one proxy (PROXY=opensips: with OPENSIPS and OPENSIPS_SRC; EXPRESS=no: lane closed)
	@$(if $(EXPRESS),CPM_EXPRESS=$(EXPRESS)) tools/test-e2e $(PROXY)

# Minutes of chaos. SEED decides on its order.
MINUTES ?= 10
SEED ?= 1

.PHONY: soak
soak: deps build ## everything that can happen at once, for MINUTES=10; prints memory and descriptors of each process
	CPM_SOAK_MINUTES=$(MINUTES) CPM_SOAK_SEED=$(SEED) $(CARGO) test --workspace --test e2e -- \
		--nocapture --exact kamailio::chaos::all_at_once::whatever_happens_an_accepted_recipient_gets_it_once_or_fails_and_nothing_is_left

.PHONY: faults
faults: deps build ## how long it takes until all is well again, for each fault that the tests inject
	@$(CARGO) test --workspace --test e2e -- --nocapture \
		chaos:: held_back:: copies_that_do_not_fit >target/faults.log 2>&1; status=$$?; \
	grep -o 'well again after.*\|^test result.*' target/faults.log; exit $$status

.PHONY: test-matrix
test-matrix: ## the tests with the Kamailio of Debian 12, 13 and sid (as root)
	@tools/matrix

.PHONY: test-deb
test-deb: deps ## the packages' test in a clean copy of this Debian release (as root)
	@tools/test-deb

.PHONY: test-deb-source
test-deb-source: deps ## the source package's test: it builds without a network
	@tools/test-deb source

.PHONY: bench
bench: deps build ## performance, compared with others (QUICK=1: few samples; parts: benches/src/fan_out/trial.rs; with OPENSIPS and OPENSIPS_SRC under it too)
	@tools/deps bench
	@[ -z "$(OPENSIPS)" ] || [ -z "$(OPENSIPS_SRC)" ] || $(MAKE) --no-print-directory build PROXY=opensips
	$(CARGO) run --release --package cpm-benches --features contestants

.PHONY: conformance
conformance: deps build ## the requirements of the specification, one by one (PROXY=opensips: the Controlling Function's)
	@$(call new_proofs,$(PROXY))
	@status=0; export PROXY=$(PROXY) CPM_PROOFS=$(conformance)/$(PROXY); \
	tools/test-e2e $(PROXY) --quiet || status=$$?; \
	[ $(PROXY) != kamailio ] || \
		$(CARGO) test --quiet --no-fail-fast --package cpm-client --test client || status=$$?; \
	$(judge) $(conformance) $(PROXY) || status=$$?; \
	exit $$status

.PHONY: diagrams
diagrams: ## the diagrams of doc/, from the .sequence files
	$(CARGO) run --quiet --package xtask -- diagrams

.PHONY: readme
readme: ## c_api/kamailio/README, from doc/manual.md
	$(CARGO) run --quiet --package xtask -- readme

.PHONY: site
site: ## the pages of doc/ as a site, target/site/doc (with mdbook: cargo install mdbook)
	@tools/site

.PHONY: page
page: ## the operator's page as each proxy serves it, from kamailio-config/operator-page/page.*
	$(CARGO) run --quiet --package xtask -- page

.PHONY: lint
lint: ## format, clippy and documentation, without warnings
	$(CARGO) fmt --all --check
	CPM_LINT=1 $(CARGO) clippy --workspace --all-targets --features cpm-benches/contestants -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

# Seconds for each fuzz target.
SECONDS ?= 60

.PHONY: fuzz
fuzz: ## coverage-guided fuzzing of every parser and state machine (SECONDS=60 each)
	@tools/fuzz $(SECONDS)

.PHONY: sanitize
sanitize: deps build ## the C boundary's tests, and some end-to-end tests, under valgrind
	@tools/sanitize

.PHONY: coverage
coverage: ## how much of the wire formats the committed inputs of the fuzz targets run
	@tools/coverage

# The files to change, and nothing else.
FILES ?=

.PHONY: mutants
mutants: ## which changes of FILES="src/…" no unit test notices (cargo-mutants)
	@tools/mutants $(FILES)

# How often loom interrupts a process within one order of events.
PREEMPTIONS ?= 3

.PHONY: loom
loom: ## the tables in shared memory, in every order that processes can meet in (PREEMPTIONS=3)
	LOOM_MAX_PREEMPTIONS=$(PREEMPTIONS) $(CARGO) test --release --package cpm-loom

.PHONY: miri
miri: ## the wire formats and the C boundary under Miri, to find undefined behaviour
	@tools/miri

.PHONY: audit
audit: ## advisories, licences and sources of linked packages (cargo-deny)
	@tools/audit

.PHONY: clean
clean: ## removes build results
	$(CARGO) clean

.PHONY: distclean
distclean: clean ## removes build results and downloads
	rm -rf .cache
