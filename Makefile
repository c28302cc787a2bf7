# Two commands for a fresh machine with Python and a C++ compiler: `make demo` and `make test`.
# Everything goes into .venv, at the versions in constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# The kernels are built again when one of these changes; the package is installed editable, so Python files take
# effect by themselves.
CPP := $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')
SOURCES := setup.py build_backend.py pyproject.toml $(CPP)

.PHONY: demo test sanitize lint cuda-check format bench install clean

demo: install
	$(BIN)/fastrnn demo --out out/demo

# Files of tests are shared out to two processes.
test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The C++ under gcc's sanitizers, for races, memory and undefined behaviour: see tests/sanitize/__main__.py.
sanitize: install
	$(BIN)/python -m tests.sanitize

lint: install $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	$(BIN)/mypy

# Needs nvcc and no GPU. The kernels' registers and spills, and the loops that start them; fails on a spill or a warning.
cuda-check:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) csrc/cuda/check.py

format: install $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

bench: install
	$(BIN)/python -m pytest bench --benchmark-autosave --benchmark-max-time=0.2 --benchmark-columns=min,median,rounds

install: $(VENV)/.installed

# The build needs the very torch that will run, so its requirements are installed first and isolation is off.
$(VENV)/.build: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) setuptools wheel ninja pybind11 torch numpy
	touch $@

$(VENV)/.installed: $(VENV)/.build $(SOURCES)
	$(INSTALL) --no-build-isolation --editable '.[cli,train,test]'
	touch $@

$(VENV)/.lint: $(VENV)/.build
	$(INSTALL) ruff mypy clang-format
	touch $@

clean:
	rm -rf $(VENV) build out fastrnn.egg-info fastrnn/*.so fastrnn/word2vec/*.so
