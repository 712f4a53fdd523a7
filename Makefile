# Every target sets up what it needs in .venv; a stamp says what is installed, so a second call is instant.
# Another interpreter: make test PYTHON=python3.13

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
FUZZ_SECONDS ?= 300
# One BLAS thread per process: the workers share the cores, and the same bytes come out everywhere.
ONE_THREAD := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest
FASHION = --jobs $(WORKERS) $(if $(DATA),--data $(DATA)) --out examples/results/fashion --checkpoints build/fashion
INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable
STATED := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint fuzz schema nightly bench examples thread clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.core ## measure a shipped checkpoint: a net trained on digits, its convolution in four groups
	$(BIN)/gcx correlate examples/checkpoints/digits-g4-seed0.pt

test: $(VENV)/.test ## run every test and doctest
	$(PYTEST) -n $(WORKERS)

lint: $(VENV)/.lint ## check style, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fuzz: $(VENV)/.test ## run each fuzz target of tests/fuzz for FUZZ_SECONDS
	@ls tests/fuzz/fuzz_*.py >/dev/null 2>&1 || { echo "make fuzz: there is no tests/fuzz/fuzz_*.py yet" >&2; exit 1; }
	@set -e; for target in tests/fuzz/fuzz_*.py; do \
	  echo "$$target"; $(ONE_THREAD) $(BIN)/python $$target -max_total_time=$(FUZZ_SECONDS); \
	done

bench: $(VENV)/.test ## run tests/benchmarks, alone on the machine: commands, measures, pictures
	$(ONE_THREAD) $(BIN)/python tests/benchmarks/bench_commands.py
	$(ONE_THREAD) $(BIN)/python tests/benchmarks/bench_measures.py
	$(PYTEST) -o python_files='bench_*.py' -s tests/benchmarks

schema: $(VENV)/.core ## write gcx/schema.json again, from the records
	$(BIN)/python -m gcx.contract > gcx/schema.json

nightly: lint $(VENV)/.test ## run everything, what takes minutes (nightly_*.py) too
	GCX_NIGHTLY=1 $(PYTEST) -n $(WORKERS) -o python_files='test_*.py nightly_*.py'

examples: $(VENV)/.test ## train the shipped example checkpoints again
	$(BIN)/python examples/train_digits.py --force

thread: $(VENV)/.test ## train the nets of the thread's experiment (hours; DATA=DIR has Fashion-MNIST), measure, write the page
	$(ONE_THREAD) $(BIN)/python examples/train_fashion.py $(FASHION)
	$(ONE_THREAD) $(BIN)/python examples/train_fashion.py $(FASHION) --width equal-multiply-adds --groups 2 4 8 --seeds 0 1 2 3
	$(ONE_THREAD) $(BIN)/python examples/train_fashion.py $(FASHION) --width equal-parameters --groups 2 4 8 --seeds 0 1 2 3
	$(BIN)/python examples/fashion_kernels.py
	$(BIN)/python examples/network_cost.py
	$(ONE_THREAD) $(BIN)/python examples/towers.py
	$(BIN)/python examples/equivalence.py
	$(BIN)/python examples/channels_last.py
	$(BIN)/gcx track build/fashion/g4-w32-seed0 --groups conv=4 --include conv --export examples/pictures/fashion-run.png
	$(BIN)/gcx correlate examples/checkpoints/fashion-g4-seed0.pt --groups conv=4 --include conv --export examples/pictures/fashion-conv.png
	$(BIN)/gcx filters examples/checkpoints/towers-seed0.pt stem --groups 'conv*=2' --induced --export examples/pictures/towers.png
	$(BIN)/python examples/write_page.py

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps lie inside .venv and come last, so that an interrupted install leaves none.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "gcx needs Python 3.11 or newer, and '$(PYTHON)' is not: name one by make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: $(VENV)/.made $(STATED)
	$(INSTALL) .
	@touch $@

$(VENV)/.test: $(VENV)/.made $(STATED)
	$(INSTALL) '.[test]'
	@touch $@ $(VENV)/.core

$(VENV)/.lint: $(VENV)/.made $(STATED)
	$(INSTALL) '.[lint,test]'
	@touch $@ $(VENV)/.test $(VENV)/.core
