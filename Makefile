# Needs python3 (3.10 or newer), make and a package registry; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
PEERS := .venv-peers/bin
INSTALL := -m pip install --quiet --disable-pip-version-check
# A plain path to the sources: setuptools' default for a tree of several packages adds 16 ms to each start of Python.
EDITABLE := --config-settings editable_mode=compat
SETTINGS := setup.cfg pyproject.toml
UNIT := not gpu and not peers and not keras_all
# Two at a time, of one thread each: else they wait for each other.  Many start processes, which would compile all
# sources anew where Python is told to write no bytecode.
ONE := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST := -m pytest -n 2 --dist worksteal

.PHONY: run test test-slow test-standin lint format verify verify-all verify-keras peers bench gpu-check clean

run: .venv/installed        ## train on handwritten digits; a few seconds
	$(BIN)/cortex train examples/digits.yaml --out runs/digits

test: .venv/installed-dev   ## up to eight minutes on two cores
	$(ONE) $(BIN)/python $(PYTEST) -m "$(UNIT) and not slow" --ignore tests/gpu

test-slow: .venv/installed-dev ## what takes seconds each
	$(ONE) $(BIN)/python $(PYTEST) -m "$(UNIT) and slow" --ignore tests/gpu

test-standin: .venv/installed-dev ## the backend for GPUs, its kit and gradients: a stand-in compiles kernels for the CPU
	$(ONE) $(BIN)/python $(PYTEST) -m "$(UNIT)" tests/gpu

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-dev ## put the code into the form that lint wants
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

verify: .venv/installed     ## train the MNIST suite; up to 12 minutes on two cores
	$(BIN)/cortex verify mnist

verify-all: .venv/installed-dev ## all suites, and more of what .ci/run draws at random; hours
	$(BIN)/cortex verify backend --backend numpy
	$(BIN)/cortex verify backend --backend auto
	$(BIN)/cortex verify gradients --backend numpy
	$(BIN)/cortex verify gradients --backend auto
	$(BIN)/cortex verify mnist
	$(BIN)/cortex verify examples
	THOROUGH=1 $(ONE) $(BIN)/python $(PYTEST) tests/gpu/test_sources.py tests/gpu/test_networks.py \
	  tests/core/graph/test_random_programs.py tests/core/training/test_resume.py

peers: .venv-peers/installed ## compare with PyTorch and Keras
	$(ONE) $(PEERS)/python $(PYTEST) -m peers

verify-keras: .venv-peers/installed ## import every model of keras.applications, and compare each layer with Keras
	$(ONE) $(PEERS)/python $(PYTEST) -m "keras_all or peers" tests/exchange/keras

bench: .venv/installed .venv-peers/installed ## measure beside PyTorch and JAX; half an hour on two quiet cores
	$(BIN)/python -m benchmarks.compare

PART ?= conformance
gpu-check:                   ## PART=conformance|gradients|mnist|speed|compiled, on a GPU, with PYTHON as it is: docs/gpu.md
	PYTHONPATH="$(CURDIR):$$PYTHONPATH" $(PYTHON) -m benchmarks.gpu_check $(PART)

clean:                       ## the environments and what tools left behind; never runs or data
	rm -rf .venv .venv-peers build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed") if sys.version_info < (3, 10) else 0'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python $(SETTINGS)
	$(BIN)/python $(INSTALL) $(EDITABLE) -e '.[onednn,datasets,viz]'
	touch $@

.venv/installed-dev: .venv/bin/python $(SETTINGS)
	$(BIN)/python $(INSTALL) $(EDITABLE) -e '.[onednn,datasets,viz,dev]'
	touch .venv/installed $@

.venv-peers/bin/python:
	$(PYTHON) -m venv .venv-peers

.venv-peers/installed: .venv-peers/bin/python $(SETTINGS)
	$(PEERS)/python $(INSTALL) $(EDITABLE) -e '.[datasets,dev,peers]' \
	  || $(PEERS)/python $(INSTALL) $(EDITABLE) -e '.[datasets,dev]' torch==2.13.0 safetensors  # Keras and JAX where they install
	touch $@
