# Two commands do all the set-up: `make demo` and `make test`.
SHELL := /bin/bash
.PHONY: demo test lint types layers unit docs format clean setup

BIN := .venv/bin

setup:
	@scripts/setup.sh

demo: setup
	@$(BIN)/geotoolbox demo --output demo

test: dev-setup lint types layers unit qgis

.PHONY: dev-setup
dev-setup:
	@scripts/setup.sh dev notebook +system

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy
	$(BIN)/mypy --strict --explicit-package-bases $(addprefix qgis_plugin/geotoolbox_qgis/,about.py definition.py definitions.py engine_source.py environment.py install.py jobs.py lock.py planning.py progress.py records.py runner.py uv.py)

layers:
	$(BIN)/lint-imports

unit:
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: qgis plugin plugin-spec
qgis:
	@scripts/qgis_tests.sh

plugin: setup plugin-spec
	@$(BIN)/python scripts/make_plugin.py dist
	@$(BIN)/python scripts/scan_plugin.py dist/geotoolbox_qgis.zip
	@echo "In QGIS: Plugins > Manage and Install Plugins > Install from ZIP > $(CURDIR)/dist/geotoolbox_qgis.zip"

plugin-spec: setup
	$(BIN)/python -m geotoolbox.jobs.schema > .jobs.json.part
	mv .jobs.json.part qgis_plugin/geotoolbox_qgis/jobs.json

.PHONY: lab
lab:
	@scripts/setup.sh notebook
	@cd notebooks && ../$(BIN)/jupyter lab 1-first-map.ipynb

docs: plugin-spec
	$(BIN)/python -m geotoolbox.cli.reference > docs/cli.md
	$(BIN)/python docs/make_gallery.py

.PHONY: bench bench-quick bench-growth bench-peers
bench-peers: setup
	@benchmarks/setup_peers.sh

bench: bench-peers
	$(BIN)/python benchmarks/run.py --output docs/performance.md
	$(BIN)/python benchmarks/growth.py --output docs/performance.md
	$(BIN)/python benchmarks/limits.py --output docs/performance.md

bench-quick: bench-peers
	$(BIN)/python benchmarks/run.py --quick

bench-growth: setup
	$(BIN)/python benchmarks/growth.py

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-qgis demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
