# Everything runs from the checkout, inside .venv; nothing of this project is put into site-packages.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
SERVING := $(VENV)/.installed-serve
PROMPT ?= a red car on a beach

.DEFAULT_GOAL := help
.PHONY: help demo test test-all mutate lint bench hpsv2 install clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)  ## refine one prompt on the embedded checkpoint; pictures and report.html go to runs/demo
	$(BIN)/python main.py refine "$(PROMPT)" --out runs/demo

test: $(SERVING) lint  ## lint, types and every test that is not slow
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" -n 2 --dist loadfile

test-all: $(SERVING)  ## the slow tests too
	$(BIN)/python -m pytest

mutate: $(SERVING)  ## turn decisions round, one by one: fails where no test notices and tests/mutants.json does not say so; half an hour
	$(BIN)/python -m tests.mutate

lint: $(SERVING)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(SERVING)  ## every benchmark: ratios measured in one interleaved run
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python -m benchmarks.$$(basename $$script .py); done

hpsv2: $(STAMP)  ## hpsv2 1.2.0, without its dependencies: it pins pytest==7.2.0 and protobuf<4
	$(BIN)/pip install --no-deps hpsv2==1.2.0

install: $(STAMP)  ## the virtual environment alone

# What serves over HTTP and MCP is an extra of its own: a demo needs none of it.
$(SERVING): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[serve,serve-test,test]'
	touch $@

# The stamp is as old as the last install: a change of either list installs again, anything else does not.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

clean:  ## remove the virtual environment and caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
