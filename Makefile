# Needs Python >= 3.11, cargo and make; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
CARGO := cargo
CARGO_FLAGS := --manifest-path rust_ext/Cargo.toml --locked
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUST := $(shell find rust_ext/src -name '*.rs') $(wildcard rust_ext/Cargo.*)
LINTED := curate tests scripts benchmarks examples
DEMO_RECIPE ?= configs/demo.yaml
DEMO_RUN ?= runs/demo
PYTEST_ARGS ?=
FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 1

export PYO3_PYTHON := $(abspath $(BIN)/python)

.DEFAULT_GOAL := help
.PHONY: help build test test-slow fuzz check format demo peers-export bench wheel clean

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: $(VENV)/.built ## Make .venv with the dependencies and the native extension in release mode.

$(VENV)/.venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "curate needs Python >= 3.11; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.venv pyproject.toml scripts/requirements.py
	$(BIN)/python scripts/requirements.py dev > $(VENV)/requirements.txt
	$(PIP) install --quiet --requirement $(VENV)/requirements.txt
	@touch $@

$(VENV)/.built: $(VENV)/.installed $(RUST)
	$(BIN)/maturin develop --release --locked --quiet > $(VENV)/build.log
	@touch $@

test: build ## Build and run the test suite: Python (but what is marked slow), then the Rust core without Python.
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)
	$(CARGO) test --quiet $(CARGO_FLAGS) --no-default-features

test-slow: build ## Run the tests that take minutes: 50 kills, every fault of a run, gigabytes of input under a limit.
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

fuzz: ## Read damaged fastText models for FUZZ_SECONDS=60 from FUZZ_SEED=1.
	$(CARGO) run --profile fuzz --quiet $(CARGO_FLAGS) --no-default-features --example fuzz_fasttext -- \
		$(FUZZ_SECONDS) $(FUZZ_SEED)

check: build ## Formats, lints, types, stub, sizes and layers.
	$(BIN)/ruff format --check $(wildcard $(LINTED))
	$(BIN)/ruff check $(wildcard $(LINTED))
	$(BIN)/mypy --strict curate scripts
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml --allowlist scripts/stubtest.allow curate._rust
	$(CARGO) fmt --manifest-path rust_ext/Cargo.toml --check
	$(CARGO) clippy --quiet $(CARGO_FLAGS) --all-targets -- -D warnings
	$(CARGO) clippy --quiet $(CARGO_FLAGS) --all-targets --no-default-features -- -D warnings
	$(BIN)/python scripts/sizes.py
	$(BIN)/python -m pytest tests/test_contracts.py

format: build ## Rewrite the sources in the house format.
	$(BIN)/ruff format $(wildcard $(LINTED))
	$(BIN)/ruff check --fix-only --quiet $(wildcard $(LINTED))
	$(CARGO) fmt --manifest-path rust_ext/Cargo.toml

demo: build ## Run the main job on the sample text and say where the result is.
	$(BIN)/curate run $(DEMO_RECIPE)
	@test -f $(DEMO_RUN)/report.html
	@echo "curated shards: $(abspath $(DEMO_RUN)/curated)"
	@ls -1 $(DEMO_RUN)/curated
	@echo "report:         $(abspath $(DEMO_RUN)/report.html)"

$(PEERS)/.installed: benchmarks/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	@touch $@

# fasttext-predict takes the names of the reference binding, so it lies beside it.
$(PEERS)-fasttext/.installed: benchmarks/peers-fasttext.txt benchmarks/peers-predict.txt
	$(PYTHON) -m venv $(PEERS)-fasttext
	$(PEERS)-fasttext/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	$(PEERS)-fasttext/bin/python -m pip --disable-pip-version-check install --quiet --no-deps \
		--upgrade --target $(PEERS)-fasttext/predict --requirement benchmarks/peers-predict.txt
	@touch $@

$(PEERS)-dedup/.installed: benchmarks/peers-dedup.txt
	$(PYTHON) -m venv $(PEERS)-dedup
	$(PEERS)-dedup/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	@touch $@

$(PEERS)-dsir/.installed: benchmarks/peers-dsir.txt
	$(PYTHON) -m venv $(PEERS)-dsir
	$(PEERS)-dsir/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	@touch $@

$(PEERS)-mds/.installed: benchmarks/peers-mds.txt
	$(PYTHON) -m venv $(PEERS)-mds
	$(PEERS)-mds/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	@touch $@

$(PEERS)-olmo/.installed: benchmarks/peers-olmo.txt
	$(PYTHON) -m venv $(PEERS)-olmo
	$(PEERS)-olmo/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	@touch $@

peers-export: $(PEERS)-mds/.installed $(PEERS)-olmo/.installed ## Make the environments that read exports back (10 GB).

$(PEERS)-loader/.installed: benchmarks/peers-loader.txt
	$(PYTHON) -m venv $(PEERS)-loader
	$(PEERS)-loader/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	@touch $@

bench: build $(PEERS)/.installed $(PEERS)-fasttext/.installed $(PEERS)-dedup/.installed $(PEERS)-dsir/.installed $(PEERS)-loader/.installed ## Run benchmarks/ against the peers; results go to benchmarks/results/<date>.jsonl.
	$(BIN)/python scripts/bench.py --peers $(PEERS)/bin/python

wheel: build ## Build the wheel into dist/.
	$(BIN)/maturin build --release --locked --quiet --out dist

clean: ## Remove everything that was built, the environments included.
	rm -rf $(VENV) $(PEERS) $(PEERS)-loader $(PEERS)-fasttext $(PEERS)-dedup $(PEERS)-dsir $(PEERS)-mds $(PEERS)-olmo dist rust_ext/target curate/_rust*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
