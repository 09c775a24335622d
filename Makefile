# Vörðr. Two commands for a new machine: `make demo` and `make test`. Everything else is a part of these.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# What Vörðr calls (runc … nftables), what building and testing it needs (python3-venv … podman).
DEBIAN := runc crun conmon skopeo erofs-utils nftables catatonit busybox-static \
          python3-venv python3-dev build-essential libleveldb-dev \
          umoci docker-registry e2fsprogs libarchive-tools podman containerd coq ocaml-nox

# Tests run in parallel, one file in one process: the kernel is shared, root folders are not.
WORKERS ?= $(shell nproc)

STAMPS := $(VENV)/.stamps

.PHONY: help deps venv demo test lint bench proofs mutation soak fuzz clean

help:
	@echo 'make demo    install what is missing, then run the whole story on a real signed container'
	@echo 'make test    install what is missing, then run everything CI runs'
	@echo 'make lint    ruff, mypy --strict, import-linter'
	@echo 'make bench   ratios against runc and podman, in one run'
	@echo 'make soak    the same tests with larger numbers'
	@echo 'make fuzz    every reader of foreign bytes, FUZZ_SECONDS (600) each; what it finds stays in build/fuzz'
	@echo 'make proofs  machine-check the Coq model, and list its theorems'
	@echo 'make mutation  change what is decided, bit by bit, and see tests fail (GROUPS="decide merkle": of those)'

# A package is asked for only when it is missing, so a second run needs no network and no root.
deps:
	@missing=; for p in $(DEBIAN); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$p"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "installing:$$missing"; \
	  $(SUDO) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; \
	fi

venv: $(STAMPS)/python

$(STAMPS)/python: setup.cfg pyproject.toml | deps
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -m compileall -q vordr
	@mkdir -p $(STAMPS) && touch $@

demo: venv
	@$(SUDO) $(BIN)/python docs/demo.py

test: venv
	@$(MAKE) --no-print-directory -j $(WORKERS) -O lint proofs
	@$(SUDO) $(BIN)/python -m pytest tests -m "not soak" -n $(WORKERS) --dist loadfile

# The same tests with larger numbers; hours, not minutes.
soak: venv
	@$(SUDO) env VORDR_SOAK=1 $(BIN)/python -m pytest tests/crash tests/property tests/integration \
	  -n $(WORKERS) --dist loadfile --timeout 7200

# A finding ends it: the input is in build/fuzz, and its traceback above.
FUZZ_SECONDS ?= 600
fuzz: venv
	@mkdir -p build/fuzz; for harness in $$($(BIN)/python tests/fuzz/driver.py --list); do \
	  echo "fuzzing $$harness for $(FUZZ_SECONDS) seconds"; \
	  $(BIN)/python tests/fuzz/driver.py $$harness build/fuzz/$$harness -max_total_time=$(FUZZ_SECONDS) \
	    -artifact_prefix=build/fuzz/$$harness- -print_final_stats=1 -verbosity=0 || exit 1; \
	done

lint: venv
	@$(BIN)/ruff check vordr tests benchmarks docs
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: venv
	@$(BIN)/python -m compileall -q vordr
	@$(SUDO) $(BIN)/python benchmarks/run.py --all --record

proofs: deps
	@$(MAKE) --no-print-directory -C proofs

# Tens of minutes: a run of tests for every mutant. Fails at one that lives without a reason (docs/proofs.md).
mutation: venv
	@$(BIN)/python tests/mutation/run.py --children $(WORKERS) $(GROUPS)

clean:
	rm -rf $(VENV) build mutants *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
