# Set-up, build, run, test. `make` alone lists the targets.
#
#   make run ARGS="--seconds 20 --link rate=3000k,loss=0.02"
#   make scoreboard SCENARIOS="steps loss2" REFERENCES=0

CARGO := .ci/cargo
ARGS :=
BUILT := $(or $(CARGO_TARGET_DIR),target)
# Of `make cross` and `make deb`: a machine to build for, such as aarch64-unknown-linux-gnu.
TARGET :=

# Of `make lab-soak`: how long, and which faults.
MINUTES := 60
SEED := 1

# Of `make scoreboard`: a built link lab (without one, the scenarios that the project ships run), names of
# scenarios (all by default), ms, several seeds for medians, runs at a time (two fit on two cores),
# 0 for the daemon alone, and the kbit/s of the reference with a constant rate.
LINKLAB :=
SCENARIOS :=
LATENCY := 2000
SEEDS := 1
JOBS := 1
REFERENCES := 1
CONSTANT := 500

.DEFAULT_GOAL := help
.PHONY: help run test setup check lab lab-v4l2 lab-continuity lab-formats lab-hot-plug lab-sound lab-page lab-api lab-metrics lab-package lab-arm64 lab-appliance lab-soak scoreboard bench fresh-root deny deb cross

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

lab: ## the long tests, which `make test` leaves out, in real time: three hours on a quiet machine
	@.ci/setup test
	@echo "==> long tests"
	@$(CARGO) test --locked -- --ignored
	@$(MAKE) --no-print-directory -k lab-page lab-api lab-v4l2 lab-hot-plug lab-sound lab-formats lab-continuity lab-metrics lab-package

lab-v4l2: ## the daemon with a kernel's camera and encoder, without hardware; the first time it builds that kernel
lab-continuity: ## a camera that fails a hundred times, and a stream that does not; ARGS="--faults N"
lab-formats: ## every pixel format that a camera may have
lab-hot-plug: ## USB cameras plugged in and out
lab-sound: ## a sound card unplugged, taken and let go, and with a clock that is off; ARGS="--minutes N"
lab-page: ## the page in Chromium: its states, by eye and by axe; ARGS="--keep DIR" keeps the pictures
lab-api: ## 200 questions a second for a minute, and schemathesis, while a stream goes out; ARGS="--seconds N"
lab-v4l2 lab-continuity lab-formats lab-hot-plug lab-sound lab-page lab-api:
	@.ci/setup test
	@echo "==> building"
	@$(CARGO) build --locked --bin uplinkd --example tscheck
	@tests/lab/$(@:lab-%=%) $(ARGS)

lab-metrics: ## Prometheus' own tool looks at the metrics, the scrape configuration and the dashboard
	@.ci/setup test
	@tests/lab/metrics

lab-soak: ## an hour of faults, and nothing grows: MINUTES=60 SEED=1
	@.ci/setup test
	@UPLINKD_SOAK_MINUTES=$(MINUTES) UPLINKD_SOAK_SEED=$(SEED) $(CARGO) test --locked --test soak -- --ignored --nocapture

scoreboard: ## how well the rate follows links, beside two references; LINKLAB=DIR SCENARIOS="…" LATENCY=2000 SEEDS="1 2 3" JOBS=1 REFERENCES=1
	@.ci/setup test
	@command -v python3 >/dev/null || { echo "python3 is needed: apt-get install python3" >&2; exit 1; }
	@echo "==> building"
	@$(CARGO) build --release --locked
	@$(if $(LINKLAB),,$(CARGO) build --locked --example linkrun)
	@cd tests/scoreboard && PYTHONDONTWRITEBYTECODE=1 python3 -m unittest -q test_scoreboard
	@echo "==> running, in real time"
	@PYTHONDONTWRITEBYTECODE=1 python3 tests/scoreboard/scoreboard.py --binary $(BUILT)/release/uplinkd \
		--linkrun $(BUILT)/debug/examples/linkrun $(if $(LINKLAB),--linklab "$(LINKLAB)") \
		--scenarios "$(SCENARIOS)" --latency $(LATENCY) --seeds "$(SEEDS)" --jobs $(JOBS) \
		--references $(REFERENCES) --constant $(CONSTANT) --out $(BUILT)/scoreboard

bench: ## processor time and memory beside gst-launch-1.0 with srtsink; ARGS="--check" fails above the goals
	@.ci/setup test
	@echo "==> building"
	@$(CARGO) build --release --locked
	@tests/bench/cpu $(ARGS)

fresh-root: ## `make run` and `make test` in a new Debian with nothing installed; ARGS="--suite trixie"
	@tests/lab/fresh-root $(ARGS)

deb: ## a Debian package of this machine, or of another: TARGET=aarch64-unknown-linux-gnu or armv7-unknown-linux-gnueabihf
	@.ci/setup run
	@systemd/deb/build $(TARGET)

cross: ## build for another machine: TARGET=aarch64-unknown-linux-gnu or armv7-unknown-linux-gnueabihf
	@cross/build $(or $(TARGET),aarch64-unknown-linux-gnu)

lab-arm64: ## the program of a Raspberry Pi, cross-built, by qemu-user: it streams to this machine; ARGS="--armhf"
	@.ci/setup test
	@$(CARGO) build --locked --example tscheck
	@tests/lab/arm64 $(ARGS)

lab-package: ## the package in a new Debian: installed, started, upgraded, purged (as root; needs mmdebstrap, systemd-container)
	@tests/lab/package $(ARGS)

lab-appliance: ## the package in QEMU with Debian's kernel: installed, on air, hung, rebooted, unplugged, purged (as root)
	@.ci/setup test
	@echo "==> building"
	@$(CARGO) build --locked --example tscheck
	@tests/lab/appliance $(ARGS)

deny: ## licences, advisories, bans and sources of the dependencies, by cargo-deny; ARGS="licenses bans sources" without GitHub
	@$(CARGO) deny --version >/dev/null 2>&1 || { \
		echo "cargo-deny is needed: cargo install --locked cargo-deny" >&2; exit 1; }
	@$(CARGO) deny --locked check $(ARGS)
