# On a fresh machine: `make few-shot` runs the main job, `make test` the tests.
# Both create .venv and install what they need, in the versions of constraints.txt.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
ARGS ?=

# A venv that fails half-way leaves its python behind, without pip.
.DELETE_ON_ERROR:

.PHONY: help few-shot test test-slow docs check format lint types gpu-check clean

help:
	@echo 'make few-shot   train on 2 good parts a category, measure, draw  (ARGS="--shots 1")'
	@echo 'make test       the tests, a few minutes'
	@echo 'make test-slow  the tests that take longer'
	@echo 'make check      format, lint, types and tests'
	@echo 'make docs       the pages, into build/site; a broken link is an error'
	@echo 'make gpu-check  the checks that need an accelerator'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'error: Python 3.11 or newer is needed; name one: make PYTHON=python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo 'installing into $(VENV)'
	$(INSTALL) --editable '.[backbone]'
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo 'installing what the tests need'
	$(INSTALL) --editable '.[agm,backbone,dev,onnx,ray]'
	$(INSTALL) --no-deps jax2onnx
	@touch $@

$(VENV)/.docs: $(VENV)/.base
	@echo 'installing what the pages need'
	$(INSTALL) --editable '.[docs]'
	@touch $@

few-shot: $(VENV)/.base
	$(RUN) -m experiments.few_shot --shots 2 $(ARGS)

test: $(VENV)/.dev
	$(RUN) -m pytest -n 2 --no-loadscope-reorder $(ARGS)

# These run longer than they compile; the others are compiled in haste (tests/conftest.py).
test-slow: $(VENV)/.dev
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(RUN) -m pytest -m slow $(ARGS)

# Strict: a broken link, or a public name without an entry, fails.
docs: $(VENV)/.docs
	$(RUN) -m mkdocs build --strict $(ARGS)

check: format lint types test

format: $(VENV)/.dev
	$(RUN) -m ruff format --check .

lint: $(VENV)/.dev
	$(RUN) -m ruff check .
	$(VENV)/bin/lint-imports --no-cache

types: $(VENV)/.dev
	$(VENV)/bin/basedpyright

# Runs on the machine's own jax and torch: installs nothing.
gpu-check:
	$(PYTHON) -m experiments.gpu_check $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis *.egg-info
