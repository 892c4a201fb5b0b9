# make repro                 set up .venv and run the face-off that params.yaml describes
# make repro PRESET=article  write presets/article.yaml into params.yaml first
# make until HOURS=2         the same, then add repeats until every verdict is settled or the hours are spent
# make show                  the table and the page of the results that are there; measures nothing
# make preflight             look whether this machine can run it, outside and inside each image that is here
# make test                  set up .venv and run the checks and the tests
# make lint                  the checks alone
#
# PYTHON=python3.12 names another Python to set up with (3.11 or newer).

PYTHON ?= python3
export HOURS ?= 1
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -sEm stages.harness.environments.pip --require-hashes --no-deps
export PATH := $(CURDIR)/$(BIN):$(PATH)
# What a shell sets for its own Python (PYTHONPATH, PYTHONHOME, PYTHONSAFEPATH, ...) leads .venv's astray.
unexport $(filter-out PYTHONIOENCODING PYTHONUTF8 PYTHONDONTWRITEBYTECODE,$(filter PYTHON%,$(.VARIABLES)))
# A system that is brought up to date may take away the Python that .venv links to, and leaves the stamps.
$(shell test -x $(BIN)/python || rm -f $(VENV)/*.stamp 2>/dev/null)

# The jobs that are the project's own: a user's are neither checked nor tested.
JOBS := bash_timer data_parallel dogs_cats plain_python says_more unchanged_script xla
CHECKED := .ci benchmarks reach stages tests $(JOBS:%=jobs/%)
# What runs inside images of Python 3.7.
OLD_PYTHON := stages/__init__.py stages/workload stages/records stages/contract.py stages/codec.py stages/errors.py stages/units.py stages/checks.py \
              stages/visible_cards.py stages/variables.py stages/holders.py stages/watched.py stages/train.py stages/evaluate.py stages/profile.py stages/preflight_inside.py \
              $(filter-out %/sources/ %/__pycache__/ jobs/dogs_cats/download.py jobs/dogs_cats/estimate.py,$(wildcard $(JOBS:%=jobs/%/*.py) jobs/dogs_cats/*/)) \
              benchmarks/plain_fastai.py benchmarks/recorded_cell.py benchmarks/split_epochs.py

.PHONY: help repro until show preflight test lint
.DELETE_ON_ERROR:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

repro: $(VENV)/harness.stamp
	@python -m stages.params $(if $(PRESET),--preset "$$PRESET")
	@python -m stages.repro
	@python -m stages.publish

until: $(VENV)/harness.stamp
	@python -m stages.params $(if $(PRESET),--preset "$$PRESET")
	@python -m stages.until --hours "$$HOURS"
	@python -m stages.publish

show: $(VENV)/harness.stamp
	@python -m stages.show

preflight: $(VENV)/harness.stamp
	@python -m stages.params $(if $(PRESET),--preset "$$PRESET")
	@python -m stages.preflight --all

test: lint
	@python -m pytest --numprocesses=logical --dist=loadfile --no-loadscope-reorder

lint: $(VENV)/tests.stamp
	@ruff check --quiet $(CHECKED)
	@ruff format --quiet --check $(CHECKED)
	@mypy
	@lint-imports --no-logo
	@vermin --quiet --target=3.7- --violations $(OLD_PYTHON)
	@hadolint docker/Dockerfile
	@zizmor --offline --quiet --persona pedantic .github
	@.ci/lint

# A stamp lies there only once its lock is installed and imports. What an interrupted set-up left is not trusted: without a
# stamp .venv is made anew, and a lock that was being laid over it is laid anew from its first package (the downloads are in
# pip's cache by then). stages/harness/environments/pip.py keeps a shell's and a pip.conf's settings out, a target for one.

$(VENV)/harness.stamp: stages/requirements.lock
	@test -e $@ || test -e $(VENV)/host.stamp || rm -rf $(VENV)
	@command -v $(PYTHON) >/dev/null || { echo "faceoff: no $(PYTHON) here; install Python 3.11 or newer, or name one: make PYTHON=python3.12 repro" >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK_PYTHON"
	@test -e $(VENV) && echo "faceoff: bringing .venv up to $<" || \
	    { echo "faceoff: setting up .venv; 150 MB to download and 700 MB on disk, a minute, once" && $(PYTHON) -m venv $(VENV); }
	$(call INSTALL,dvc.cli docker kagglehub matplotlib PIL statsmodels.api)

# What image `host` holds beside that: docker/host/image.yaml asks for it.
$(VENV)/host.stamp: docker/host/requirements.lock | $(VENV)/harness.stamp
	@test -e $@ && echo "faceoff: bringing .venv up to $<" || \
	    echo "faceoff: adding torch and fastai for image host; 3 GB to download and 6 GB on disk, minutes, once"
	$(call INSTALL,torch torchvision fastai)

$(VENV)/tests.stamp: tests/requirements.lock $(VENV)/host.stamp
	@echo "faceoff: adding what the tests need"
	$(call INSTALL,pytest xdist)

define INSTALL
@again=; ! test -e $@.half || again=--ignore-installed; touch $@.half; $(PIP) $$again -r $<
@$(BIN)/python -Ic "$$CHECK_IMPORTS" $(1)
@rm $@.half && touch $@
endef

define CHECK_PYTHON
import sys
if sys.version_info < (3, 11):
    sys.exit('faceoff needs Python 3.11 or newer and found %d.%d; name one: make PYTHON=python3.11 repro' % sys.version_info[:2])
import importlib.util
if not importlib.util.find_spec('ensurepip'):
    sys.exit('faceoff: this Python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv')
endef
export CHECK_PYTHON

define CHECK_IMPORTS
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        sys.exit(f'faceoff: .venv is not whole ({name}: {error}); have it made anew: rm -r .venv')
endef
export CHECK_IMPORTS
