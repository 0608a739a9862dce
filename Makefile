# make demo       the main experiment, from data to report
# make test       all tests that this machine can run      make test-fast  without the slow ones
# make lint       ruff and mypy                            make format     ruff
# make bench      speed of the parts, 10 min               make env        only the environment
#
# The environment is .venv, made once by PYTHON (3.11 to 3.13).

PYTHON ?= python3
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: demo test test-fast lint format bench env clean

env: .venv/ready

.venv/ready: pyproject.toml constraints.txt scripts/make_env.py
	@$(PYTHON) scripts/make_env.py
	@touch $@

demo: .venv/ready
	@.venv/bin/contextssl demo

test: .venv/ready
	@.venv/bin/python -m pytest

test-fast: .venv/ready
	@.venv/bin/python -m pytest -m "not slow and not data"

lint: .venv/ready
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy

format: .venv/ready
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench: .venv/ready
	@.venv/bin/python benchmarks/speed.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
