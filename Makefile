# make repro                 set up .venv and run the face-off that params.yaml describes
# make repro PRESET=article  lay presets/article.yaml over params.yaml first
# make until HOURS=2         the same, then add repeats until verdicts on the total time are settled, or it is over
# make preflight             look whether this machine can run it, outside and inside each image that is here
# make test                  set up .venv and run the checks and the tests
# make lint                  the checks alone
#
# PYTHON=python3.12 names another Python to set up with (3.11 or newer).

PYTHON ?= python3
export HOURS ?= 1
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes --no-deps
export PATH := $(CURDIR)/$(BIN):$(PATH)

# What runs inside images of Python 3.7.
OLD_PYTHON := stages/workload stages/records stages/contract.py stages/codec.py stages/errors.py stages/units.py stages/checks.py \
              stages/train.py stages/evaluate.py stages/profile.py stages/preflight_inside.py \
              $(filter-out %/sources/ %/__pycache__/ jobs/dogs_cats/download.py jobs/dogs_cats/estimate.py,$(wildcard jobs/*/*.py jobs/dogs_cats/*/)) \
              benchmarks/plain_fastai.py benchmarks/recorded_cell.py benchmarks/split_epochs.py

.PHONY: help repro until preflight test lint
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

repro: $(VENV)/host.stamp
	@python -m stages.params $(if $(PRESET),--preset "$$PRESET")
	@python -m stages.repro
	@python -m stages.publish

until: $(VENV)/host.stamp
	@python -m stages.params $(if $(PRESET),--preset "$$PRESET")
	@python -m stages.until --hours "$$HOURS"
	@python -m stages.publish

preflight: $(VENV)/host.stamp
	@python -m stages.params $(if $(PRESET),--preset "$$PRESET")
	@python -m stages.preflight --all

test: lint
	@python -m pytest --numprocesses=logical --dist=loadfile --no-loadscope-reorder

lint: $(VENV)/tests.stamp
	@ruff check --quiet .
	@ruff format --quiet --check .
	@mypy
	@lint-imports --no-logo
	@vermin --quiet --target=3.7- --violations $(OLD_PYTHON)
	@hadolint docker/Dockerfile
	@zizmor --offline --quiet --persona pedantic .github
	@.ci/lint

# A stamp lies there only while its step is through: what an interrupted set-up left is not trusted, and made anew (the
# downloads are in pip's cache by then). A changed lock installs on top of what is there.

$(VENV)/host.stamp: docker/host/requirements.lock
	@test -e $@ || rm -rf $(VENV)
	@command -v $(PYTHON) >/dev/null || { echo "faceoff: no $(PYTHON) here; install Python 3.11 or newer, or name one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK_PYTHON"
	@echo "faceoff: setting up .venv; torch and its CUDA libraries are 3 GB to download and 6 GB on disk, minutes, once"
	@test -e $@ || $(PYTHON) -m venv $(VENV)
	@rm -f $@
	@$(PIP) -r $<
	@touch $@

$(VENV)/tests.stamp: tests/requirements.lock $(VENV)/host.stamp
	@echo "faceoff: adding what the tests need"
	@$(PIP) -r $<
	@touch $@

define CHECK_PYTHON
import sys
if sys.version_info < (3, 11):
    sys.exit('faceoff needs Python 3.11 or newer and found %d.%d; name one: make PYTHON=python3.11 ...' % sys.version_info[:2])
import importlib.util
if not importlib.util.find_spec('ensurepip'):
    sys.exit('faceoff: this Python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv')
endef
export CHECK_PYTHON
