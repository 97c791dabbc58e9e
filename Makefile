# Set-up, build, run, test. `make` alone lists the targets.
#
#   make run ARGS="--seconds 20 --link rate=3000k,loss=0.02"

CARGO := .ci/cargo
ARGS :=

.DEFAULT_GOAL := help
.PHONY: help run test setup check lab bench fresh-root deny

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install what is missing, build, and run `uplinkd demo`; ARGS="…" are its arguments
	@.ci/setup run
	@echo "==> building (the first time takes minutes: GStreamer's bindings are large)"
	@$(CARGO) build --release --locked
	@echo "==> uplinkd demo $(ARGS)"
	@$(CARGO) run --release --locked --quiet -- demo $(ARGS)

test: ## install what is missing, and run every test but those of `make lab`
	@.ci/setup test
	@echo "==> testing"
	@$(CARGO) test --locked

setup: ## install what is missing to build, run and test
	@.ci/setup test
	@echo "==> everything is there: $$($(CARGO) --version)"

check: ## what a change must pass: formatting, lints, documentation, tests
	@.ci/setup test
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 || { \
		echo "rustfmt and clippy are needed: rustup component add rustfmt clippy" >&2; exit 1; }
	@echo "==> formatting"
	@$(CARGO) fmt --check
	@echo "==> lints"
	@$(CARGO) clippy --locked --all-targets -- -D warnings
	@echo "==> documentation"
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	@echo "==> testing"
	@$(CARGO) test --locked

lab: ## the long tests, which `make test` leaves out
	@.ci/setup test
	@echo "==> long tests"
	@$(CARGO) test --locked -- --ignored

bench: ## processor time and memory beside gst-launch-1.0 with srtsink; ARGS="--check" fails above the goals
	@.ci/setup test
	@echo "==> building"
	@$(CARGO) build --release --locked
	@tests/bench/cpu $(ARGS)

fresh-root: ## `make run` and `make test` in a new Debian with nothing installed; ARGS="--suite trixie"
	@tests/lab/fresh-root $(ARGS)

deny: ## licences, advisories, bans and sources of the dependencies, by cargo-deny
	@$(CARGO) deny --version >/dev/null 2>&1 || { \
		echo "cargo-deny is needed: cargo install --locked cargo-deny" >&2; exit 1; }
	@$(CARGO) deny --locked check
