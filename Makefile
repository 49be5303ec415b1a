PYTHON ?= python3
BIN := .venv/bin

# A process for each core, up to 8, which take tests from each other; random order only when you ask for it.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal -p no:randomly
FAST := $(addprefix tests/,artefacts augmentation benchmarks data losses metrics networks records report test_arm.py test_randomness.py test_settings.py)

.PHONY: help demo pages reference test test-fast test-slow lint format lock audit fuzz benchmark benchmark-gpu calibration tensorboard

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

demo: .venv/installed  ## answer the question on 1,797 embedded images: four arms, eight splits, one report
	$(BIN)/gan-augment -m experiment=digits hydra/launcher=joblib

pages: .venv/installed  ## build the page and the table of every study in results/: docs/<study>/report.html, results.csv
	$(BIN)/python docs/pages.py

reference: .venv/installed  ## build docs/reference.md from the comments in conf/
	$(BIN)/python docs/reference.py

test: .venv/installed-test lint  ## lint, type-check, and run the tests that CI runs
	$(PYTEST) -m "not slow"

test-fast: .venv/installed-test  ## mathematics, data and statistics, in under a minute: no linting, little training
	$(PYTEST) $(FAST)

test-slow: .venv/installed-test  ## the checks on real data; GAN_AUGMENT_DATA names a folder that holds MNIST/, FashionMNIST/, USPS/
	$(BIN)/python -m pytest -m slow

lint: .venv/installed-test  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed-test  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: pyproject.toml  ## write requirements.lock, the exact versions for development with their hashes
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv/lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra test \
		--custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml

audit:  ## look for known holes in the versions of requirements.lock; asks pypi.org
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	.venv/audit/bin/pip-audit --require-hashes --disable-pip --requirement requirements.lock

benchmark: .venv/installed  ## speed and memory, commands killed 40 times; an hour and a half, 5 GB of disk; GAN_AUGMENT_DATA as for test-slow
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/step_profile.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/gans.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/own_images.py
	$(BIN)/python benchmarks/kills.py
	$(BIN)/python benchmarks/page.py

benchmark-gpu: .venv/installed-test  ## tests, waiting steps and speed on an NVIDIA GPU; nine minutes
	PYTHON=$(BIN)/python bash benchmarks/gpu.sh; failed=$$?; $(BIN)/python benchmarks/page.py; exit $$failed

fuzz: .venv/installed  ## feed 500 damaged files and odd settings to the commands, none of which may crash, hang or write elsewhere; about five minutes
	$(BIN)/python benchmarks/fuzz.py

calibration: .venv/installed  ## how often the intervals hold, docs/statistics.md; 15 minutes on 2 idle cores
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/peeking.py

tensorboard: .venv/installed  ## open TensorBoard on every study under outputs/
	$(BIN)/tensorboard --logdir outputs/studies
