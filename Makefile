# make repro                 set up .venv and run the face-off of params.yaml
# make repro PRESET=article  lay a preset of presets/ over params.yaml first
# make test                  set up .venv and run the checks and tests
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test lint
.DELETE_ON_ERROR:

repro: $(VENV)/host.stamp
	@python -m stages.params $(if $(PRESET),--preset $(PRESET))
	@dvc repro
	@python -m stages.publish

$(VENV)/host.stamp: docker/host/requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "faceoff needs Python 3.11 or newer; name one: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r $<
	@touch $@

$(VENV)/tests.stamp: tests/requirements.lock $(VENV)/host.stamp
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r $<
	@touch $@

lint: $(VENV)/tests.stamp
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	vermin --quiet --target=3.7- --violations stages/workload stages/records.py stages/errors.py

test: lint
	python -m pytest
