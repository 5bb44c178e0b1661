# The commands of this project. `make` lists them.

export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

TESTBED = tests/testbed/testbed
# Arguments of `cargo test`: make test ARGS='--test buildkit push'
ARGS =
# The tests that need no engine: all except tests/buildkit.
PURE_TESTS = $(filter-out buildkit,$(patsubst tests/%.rs,%,$(wildcard tests/*.rs)) $(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs)))

.DEFAULT_GOAL = help
.PHONY: help demo test test-graph-driver test-arm64 test-fast lint lint-fast docs picture generate bench up down clean distclean rust

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Most of the time goes to the engine, so the quicker profile is enough. `make test` uses it too.
demo: rust ## Build basegen, build and push four GPU images, and run them
	cargo build --locked
	$(TESTBED) run --python 3.11 -- scripts/demo

test: rust ## Run all tests, also against a real engine and registry
	cargo test --locked --no-run
	$(TESTBED) run -- cargo test --locked --no-fail-fast $(ARGS)
ifeq ($(ARGS),)
	@if [ "$$(id -u)" = 0 ]; then $(MAKE) test-graph-driver; \
	else echo 'skipped without root: make test-graph-driver, the tests with the old image store' >&2; fi
	@if $(TESTBED) emulates arm64 --store containerd; then $(MAKE) test-arm64; \
	else echo 'skipped without emulation: make test-arm64, the tests of arm64 images' >&2; fi
endif

# On a test bed of its own, so that the two do not affect each other.
test-graph-driver: export BASEGEN_TESTBED_SUFFIX := -graph
test-graph-driver: rust ## Run the engine tests with Docker's old image store
	$(TESTBED) run --store graphdriver --python 3.11 --python 3.13 -- cargo test --locked --no-fail-fast --test buildkit -- --skip images:: --skip torch:: --skip truss_models::

# On a test bed of its own, whose upstream images are indexes of two platforms.
test-arm64: export BASEGEN_TESTBED_SUFFIX := -arm64
test-arm64: rust ## Run the tests of arm64 images, emulated on another machine
	$(TESTBED) run --store containerd --python 3.11 --emulate arm64 -- cargo test --locked --test buildkit -- --ignored

test-fast: rust ## Run the tests that need no engine
	cargo test --locked --no-fail-fast --lib --bins $(PURE_TESTS:%=--test %) $(ARGS)

lint: rust ## Run all linters: fmt, clippy, deny, hadolint, actionlint, zizmor, shellcheck, docs
	scripts/lint fmt clippy deny hadolint actionlint zizmor shellcheck docs

lint-fast: rust ## Run the linters that take seconds
	scripts/lint fmt clippy hadolint actionlint zizmor shellcheck docs

docs: ## Build the documentation site in target/book, and check all links
	scripts/lint docs

picture: rust ## Record the picture of a run in the README
	cargo build --release --locked
	$(TESTBED) run --python 3.11 --python 3.13 -- scripts/picture

generate: rust ## Write the files that are generated from the code
	scripts/generate

bench: rust ## Measure the core, the start-up time, and builds compared with bake and buildx (minutes)
	cargo bench --locked --bench core
	cargo build --release --locked
	benches/startup
	$(TESTBED) run -- benches/side_by_side/run

up: ## Start the test bed and print its variables
	@$(TESTBED) up

down: ## Stop the test bed
	$(TESTBED) down
	BASEGEN_TESTBED_SUFFIX=-graph $(TESTBED) down
	BASEGEN_TESTBED_SUFFIX=-arm64 $(TESTBED) down

clean: ## Delete target/ and the test bed's folder
	$(TESTBED) clean
	BASEGEN_TESTBED_SUFFIX=-graph $(TESTBED) clean
	BASEGEN_TESTBED_SUFFIX=-arm64 $(TESTBED) clean
	rm -rf target dist

distclean: clean ## Also delete the downloads of the test bed and the linters
	$(TESTBED) clean --cache
	scripts/lint forget

rust:
	@scripts/require-rust
