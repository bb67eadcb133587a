# Everything a developer or CI runs. Each target sets up what it needs, and is quick the second time.
#   make venv   the environment, at .venv        make demo   a journaled agent, live (needs Python alone)
#   make test   every gate and test              make lint   the gates alone
#   make bench  the measurements of the README   make soak   the long forms of the tests
#   make steady all of `make test` ten times on a machine that is kept busy (N=10 LOAD=4)
#   make dist   all distributions, checked, in dist/
#   make ui     the viewer, built into the package (npm's packages are fetched once); make demo UI=1 shows the demo in it
#   make stack  Collector, Jaeger, receiver and an agent, until Ctrl-C (the servers are built once: minutes, with Go)

.DEFAULT_GOAL := help
.PHONY: help venv ui demo dist stack lint format test steady soak bench servers constraints clean
SHELL := /bin/bash

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
PYTEST := $(BIN)/python -m pytest

help:
	@sed -n '2,9s/^# *//p' Makefile

venv: $(STAMP)
	@true

# Stamped: a second run is instant until pyproject.toml or constraints.txt change.
$(STAMP): pyproject.toml constraints.txt scripts/venv.sh $(wildcard exporters/*/pyproject.toml)
	@PYTHON=$(PYTHON) scripts/venv.sh
	@touch $@

# Stamped by the script itself: a second run is instant.
ui: venv
	@$(BIN)/python scripts/build_ui.py

# Does not wait for the whole environment where that is not there yet.
demo:
	@if [ -e $(STAMP) ] || [ -e .venv/.demo ]; then true; else PYTHON=$(PYTHON) scripts/venv.sh demo && touch .venv/.demo; fi
	@$(if $(UI),$(BIN)/python scripts/build_ui.py)
	@$(BIN)/agent-journal demo $(if $(UI),--ui)

# Stamped too: nothing is built again until a file changes that goes into it.
DISTRIBUTED = $(shell find README.md CHANGELOG.md LICENSE docs examples src ui/src ui/*.* exporters/*/src exporters/*/*.* scripts/dist.py \
    -type f -not -path '*/__pycache__/*')

dist: dist/.stamp
	@true

dist/.stamp: $(STAMP) $(DISTRIBUTED)
	@$(BIN)/python scripts/dist.py
	@touch $@

stack: venv ui
	@$(BIN)/python scripts/stack.py

lint: venv
	@scripts/lint.sh

format: venv
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

test: venv ui
	@scripts/test.sh

steady: venv ui
	@scripts/steady.sh $(or $(N),10) $(or $(LOAD),4) $(TESTS)

soak: venv ui
	@AGENT_JOURNAL_SOAK=1 scripts/test.sh --soak

bench: venv ui
	@$(BIN)/python tests/benchmarks/run_all.py

servers:
	@scripts/real_servers.sh

constraints: venv
	@$(BIN)/python scripts/compile_constraints.py

clean:
	@rm -rf .venv ui/node_modules ui/.built* src/otel_agent_journal/server/static .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* .import_linter_cache .grimp_cache build dist
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
