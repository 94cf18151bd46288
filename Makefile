# Two commands set everything up from a fresh clone: make demo, make test. They need Python >= 3.11, make and a package index.
#   make PYTHON=/path/to/python3.12 ...      choose the interpreter
#   make test PYTEST_ARGS='-m "not slow" -x' pass options to pytest
#   make demo DEMO_ARGS='--output DIR'       pass options to the demo
#   make benchmark BENCHMARKS=benchmarks/X.py BENCHMARK_ARGS='...'

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m
# Stamps are written last, so that an interrupted install is taken up again.
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.installed-docs

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
DEMO_OUTPUT ?= demo-output
DEMO_ARGS ?= --output $(DEMO_OUTPUT) --overwrite
PYTEST_ARGS ?=
TEST_WORKERS ?= 2
BENCHMARKS ?= $(filter-out benchmarks/_%,$(wildcard benchmarks/*.py))
BENCHMARK_ARGS ?=

# sam2 builds from source: without its optional CUDA kernel, which nothing here uses and which needs nvcc.
export SAM2_BUILD_CUDA := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help venv demo view test lint lint-ruff lint-format lint-types lint-imports lint-manifest docs screenshots \
	benchmark clean system-libs

help:
	@echo 'make demo         segment the sample data, offline, and write labels, a picture and a table of scores'
	@echo 'make view         the same, then show it in napari'
	@echo 'make test         run all tests'
	@echo 'make lint         ruff, mypy, the import contracts, the napari manifest'
	@echo 'make docs         build the documentation into site/'
	@echo 'make screenshots  take the pictures and recordings of the documentation again'
	@echo 'make benchmark    measure speed and memory against the reference predictor'
	@echo 'make venv         only install, into $(VENV)'
	@echo 'make clean        remove what the other targets made, $(VENV) too'

demo: $(INSTALLED)
	$(BIN)/napari-medsam2 demo $(DEMO_ARGS)

view: system-libs $(INSTALLED)
	$(BIN)/napari-medsam2 demo $(DEMO_ARGS) --view

# Two at a time, each with a screen of its own; TEST_WORKERS=0 runs them in one process, as a debugger needs it.
test: system-libs $(INSTALLED)
	$(RUN) pytest -n $(TEST_WORKERS) --dist worksteal $(PYTEST_ARGS)

# Use make -k lint to see every complaint at once.
lint: lint-ruff lint-format lint-types lint-imports lint-manifest

lint-ruff: $(INSTALLED)
	$(RUN) ruff check

lint-format: $(INSTALLED)
	$(RUN) ruff format --check

lint-types: $(INSTALLED)
	$(RUN) mypy

lint-imports: $(INSTALLED)
	$(BIN)/lint-imports

lint-manifest: system-libs $(INSTALLED)
	$(BIN)/npe2 validate --imports napari-medsam2

docs: $(DOCS_INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict

# On a virtual screen where there is one, so that every picture has the same size.
screenshots: system-libs $(INSTALLED)
	@screen=; if command -v xvfb-run >/dev/null 2>&1; then screen='xvfb-run -a -s "-screen 0 1600x1000x24"'; fi; set -e; \
		for script in screenshots recordings; do \
			echo "$$screen $(BIN)/python scripts/$$script.py"; eval "$$screen $(BIN)/python scripts/$$script.py"; done

benchmark: $(INSTALLED)
	@set -e; for script in $(BENCHMARKS); do echo "$(BIN)/python $$script $(BENCHMARK_ARGS)"; $(BIN)/python "$$script" $(BENCHMARK_ARGS); done

venv: $(INSTALLED)

$(INSTALLED): pyproject.toml $(BIN)/.usable
	$(RUN) pip install --editable '.[all]' --group test --group lint
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(RUN) pip install --group docs
	@touch $@

# An environment of yours in $(VENV) is kept if it can serve. pip learnt dependency groups in 25.1.
$(BIN)/.usable:
	@test -n '$(PYTHON)' && '$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'napari-medsam2 needs Python 3.11 or newer: install it, or name it: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' >/dev/null 2>&1 || sh scripts/system-libs.sh venv $(PYTHON)
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(RUN) pip install 'pip>=25.1'
	@touch $@

system-libs:
	@sh scripts/system-libs.sh qt

clean:
	rm -rf $(VENV) .tox build dist site $(DEMO_OUTPUT) src/*.egg-info
	rm -rf .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
