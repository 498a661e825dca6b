# Works from a fresh clone with Python >= 3.11, make and a C library; everything else goes into .venv.

SHELL := /bin/sh
BIN := .venv/bin
PYTHONS := python3.13 python3.12 python3.11 python3
# Plots need no display.
export MPLBACKEND := agg

# Networks as small as the demo's are as fast on one core as on two, and much faster if the machine is busy.
ONE_CORE := $(shell taskset -c 0 true 2>/dev/null && echo taskset -c 0)

# Licences that oblige those who only use a library.
REFUSED := GNU Affero General Public License v3;GNU General Public License v3 (GPLv3)
COMPILE := --quiet --generate-hashes --universal --python-version 3.11 --no-annotate --no-header pyproject.toml --all-extras

.PHONY: help demo reproduce test verify bench lint docs licences audit requirements clean

help:
	@echo "make demo    sample the toy tasks and MNIST, write the reports to demo/index.html"
	@echo "make reproduce  compute the published figures again, small networks, into reproduce/index.html; half an hour"
	@echo "make test    lint, types, layers, tests, doctests, and the code in README and docs"
	@echo "make verify  slow statistical tests of the samplers"
	@echo "make bench   benchmarks; hours: see benchmarks/"
	@echo "make lint    style, types and layers only"
	@echo "make docs    build the documentation into site/"
	@echo "make licences  list the licences of all dependencies; fails on those that cannot be used"
	@echo "make audit   look for known vulnerabilities in the dependencies; asks a server for them"
	@echo "make requirements  renew the pinned versions and hashes in requirements/; needs uv"
	@echo "make clean   delete what the other commands made, .venv included"

# An unfinished demo is resumed, a finished one is made again.
demo: .venv/installed-demo
	@if [ -e demo/index.html ]; then rm -rf demo; fi
	$(ONE_CORE) $(BIN)/nonlazy demo --out demo

# What is finished in the folder is kept.
reproduce: .venv/installed-demo
	$(ONE_CORE) $(BIN)/nonlazy reproduce --all --quick --out reproduce

test: lint
	$(BIN)/pytest -n auto -m "not slow" tests
	$(BIN)/pytest --doctest-modules nonlazy -W ignore::nonlazy.SamplingWarning

verify: .venv/installed-dev
	$(BIN)/pytest -m slow tests

bench: .venv/installed-dev
	$(BIN)/python benchmarks/theory_speed.py
	$(BIN)/python benchmarks/theory_against_sampling.py
	$(BIN)/python benchmarks/generalization.py
	$(BIN)/python -m benchmarks.performance

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/installed-dev
	$(BIN)/mkdocs build --strict

licences: .venv/installed-dev
	$(BIN)/pip-licenses --order=license --fail-on="$(REFUSED)"

audit: .venv/installed-dev
	$(BIN)/pip-audit --require-hashes --disable-pip --requirement requirements/dev.txt

requirements:
	uv pip compile $(COMPILE) $(foreach group,build dev docs audit,--group pyproject.toml:$(group)) --output-file requirements/dev.txt
	uv pip compile $(COMPILE) --group pyproject.toml:build --constraint requirements/dev.txt --output-file requirements/run.txt

clean:
	rm -rf .venv demo reproduce site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Nothing is installed but what has the hash written down; the package itself comes last and brings nothing.
INSTALL = $(BIN)/python -m pip install --quiet
EDITABLE = $(INSTALL) --no-deps --no-build-isolation --editable .

.venv/installed-demo: pyproject.toml requirements/run.txt | $(BIN)/pip
	$(INSTALL) --require-hashes --requirement requirements/run.txt
	$(EDITABLE)
	@touch $@

.venv/installed-dev: pyproject.toml requirements/dev.txt | $(BIN)/pip
	$(INSTALL) --require-hashes --requirement requirements/dev.txt
	$(EDITABLE)
	@touch $@ .venv/installed-demo

# Of the candidates, the first that runs and is new enough: a name on the PATH may be a shim for nothing.
$(BIN)/pip:
	@for python in $(PYTHONS); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "nonlazy needs Python 3.11 or newer; none of $(PYTHONS) is. Install one, or: make PYTHONS=/path/to/python" >&2; exit 1; \
	fi; \
	if ! $$found -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	  echo "$$found cannot make virtual environments: its venv or ensurepip module is missing" \
	    "(on Debian and Ubuntu: apt install python3-venv)." >&2; exit 1; \
	fi; \
	echo "making .venv with $$($$found --version)"; $$found -m venv .venv
