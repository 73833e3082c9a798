# Everything a newcomer needs: `make demo`, `make test`. `make help` lists the rest.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The first Python 3.11 there is, whatever its name; PYTHON=... chooses another.
PYTHON ?= $(shell for name in python3.11 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && { echo $$name; break; }; done)
# deepspeed comes as source, and its setup imports torch: torch first, then no isolated builds. It compiles nothing.
PIP := DS_BUILD_OPS=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation
TORCH := torch==2.13.0
EXTRAS := local,dev
# Parallel tests on few cores collapse with more threads each.
TESTS ?= tests
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo install test lint format types pipelines manifests images lock-images bench lock clean

help: ## List every target with a sentence.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: install ## Install, then run one experiment from data to report on this machine.
	$(BIN)/receipt-counter run --mode single --preset laptop --config config/demo.yaml --experiment-name demo

install: $(INSTALLED) ## Make .venv with exactly the versions in constraints.txt (once).

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 is needed; make PYTHON=/path/to/python3.11 names one" >&2; exit 1; }
	@echo "installing into $(VENV), once: 1/4 environment"
	@$(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) cannot make virtual environments; on Debian: apt install python3.11-venv" >&2; exit 1; }
	@$(PIP) -c constraints.txt setuptools wheel
	@echo "installing: 2/4 torch"
	@$(PIP) -c constraints.txt $(TORCH)
	@echo "installing: 3/4 deepspeed"
	@$(PIP) -c constraints.txt deepspeed
	@echo "installing: 4/4 everything else"
	@$(PIP) -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

test: install ## Run all tests; TESTS=tests/cli runs some.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 15 $(TESTS)

lint: install ## Check style and common mistakes.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint docker/Dockerfile

format: install ## Rewrite the code in the one style.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install ## Check types strictly.
	$(BIN)/mypy

pipelines: install ## Compile the pipelines for Kubeflow into build/pipelines.
	$(BIN)/receipt-counter compile -o build/pipelines

manifests: install ## Write the Katib Experiments of the two studies into manifests/katib.
	$(BIN)/python -m receipt_counter.study.manifests manifests/katib

images: ## Build the container images; TARGET=cpu or TARGET=gpu builds one.
	@for target in $(or $(TARGET),cpu gpu); do PYTHON=$(PYTHON) docker/build.sh $$target || exit 1; done

lock-images: ## Write the digests of the images' bases into docker/images.lock; needs a registry.
	@docker/lock.sh

bench: install ## Measure training throughput side by side with Hugging Face's Trainer.
	$(BIN)/python benchmarks/train_throughput.py

lock: ## Write constraints.txt anew: the newest versions that fit pyproject.toml, in a throw-away environment.
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 is needed" >&2; exit 1; }
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet --upgrade setuptools wheel
	build/lock/bin/pip install --quiet $(TORCH)
	DS_BUILD_OPS=0 build/lock/bin/pip install --quiet --no-build-isolation deepspeed
	build/lock/bin/pip install --quiet --no-build-isolation -e '.[$(EXTRAS)]'
	{ echo "# Exact versions of everything; made by 'make lock'."; \
	  build/lock/bin/pip freeze --all --exclude-editable --exclude pip --exclude torch | grep -v -i '^nvidia-\|^triton='; \
	  echo "$(TORCH)"; } | LC_ALL=C sort > constraints.txt
	rm -rf build/lock

clean: ## Remove what was installed and built; runs in experiments/ stay.
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
