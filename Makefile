# Two commands do all the set-up: `make demo` and `make test`.
SHELL := /bin/bash
.PHONY: demo test lint types layers unit docs format clean setup

BIN := .venv/bin

setup:
	@scripts/setup.sh

demo: setup
	@$(BIN)/geotoolbox demo --output demo

test: dev-setup lint types layers unit

.PHONY: dev-setup
dev-setup:
	@scripts/setup.sh dev +system

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

layers:
	$(BIN)/lint-imports

unit:
	$(BIN)/pytest -n 2 --dist loadfile

docs:
	$(BIN)/python -m geotoolbox.cli.reference > docs/cli.md

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
