# How this project is run. `make` alone lists what there is.

export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

TESTBED = tests/testbed/testbed
# Arguments for the tests that run: make test ARGS='--test engine push'
ARGS =
# The tests that need no engine: all but tests/engine.
PURE_TESTS = $(filter-out engine,$(patsubst tests/%.rs,%,$(wildcard tests/*.rs)) $(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs)))

.DEFAULT_GOAL = help
.PHONY: help demo test test-graph-driver test-fast lint lint-fast generate bench up down clean distclean rust

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: rust ## Build basegen, build and push four GPU images, and run them
	cargo build --release --locked
	$(TESTBED) run --python 3.11 -- scripts/demo

test: rust ## All tests, those against a real engine and registry too
	cargo test --locked --no-run
	$(TESTBED) run -- cargo test --locked --no-fail-fast $(ARGS)
ifeq ($(ARGS),)
	@if [ "$$(id -u)" = 0 ]; then $(MAKE) test-graph-driver; \
	else echo 'not run, for want of root: make test-graph-driver, the tests with the old image store' >&2; fi
endif

# On a bed of its own, so that the two leave each other alone.
test-graph-driver: export BASEGEN_TESTBED_SUFFIX := -graph
test-graph-driver: rust ## The tests against an engine whose images are in Docker's old store
	$(TESTBED) run --store graphdriver --python 3.11 --python 3.13 -- cargo test --locked --no-fail-fast --test engine -- --skip images::

test-fast: rust ## The tests that need no engine
	cargo test --locked --no-fail-fast --lib --bins $(PURE_TESTS:%=--test %) $(ARGS)

lint: rust ## Everything that reads the code: fmt, clippy, deny, hadolint, actionlint, zizmor, shellcheck
	scripts/lint fmt clippy deny hadolint actionlint zizmor shellcheck

lint-fast: rust ## What of it takes seconds
	scripts/lint fmt clippy hadolint actionlint zizmor shellcheck

generate: rust ## Write the files that are generated from the code
	scripts/generate

bench: rust ## Measure the pure core, start-up, and builds beside bake and buildx (minutes)
	cargo bench --locked --bench core
	cargo build --release --locked
	benches/startup
	$(TESTBED) run -- benches/side_by_side/run

up: ## Bring the test bed up, and leave it up; prints its variables
	@$(TESTBED) up

down: ## Stop what `make up` started
	$(TESTBED) down
	BASEGEN_TESTBED_SUFFIX=-graph $(TESTBED) down

clean: ## Remove what was built, and the test bed's folder
	$(TESTBED) clean
	BASEGEN_TESTBED_SUFFIX=-graph $(TESTBED) clean
	rm -rf target dist

distclean: clean ## … and what the test bed and the linters downloaded
	$(TESTBED) clean --cache
	scripts/lint forget

rust:
	@scripts/require-rust
