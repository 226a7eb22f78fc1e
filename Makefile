# What a developer types. `make help` lists it. Needs Python 3.10 or newer and nothing else.

PYTHON ?= python3
VENV ?= .venv
# Of `make test-oldest`.
OLDEST ?= .venv-oldest
# Of `make demo`: a sentence or a recording of your own, another model, frames per second, and
# where the results go.
TEXT ?=
WAV ?=
MODEL ?=
FPS ?= 30
OUT ?= demo_out
# With 1, `make demo` ends without its page; so it does where it has no terminal.
DEMO_ONCE ?=
export DEMO_ONCE
# Of `make soak`.
MINUTES ?= 10

PY := $(VENV)/bin/python
# Compiling all of torch ahead takes longer than the tests; Python compiles what it imports.
PIP_INSTALL := $(PY) -m pip install --quiet --no-compile --disable-pip-version-check
SETTINGS := setup.py setup.cfg package.xml pyproject.toml
SOURCES := $(shell find dualtalker ros2_ws/src/dualtalker_ros launch config resource \
	-type f -not -name '*.pyc')

# A ROS installation sourced in this shell would shadow the one in the virtual environment, and
# the library path of another virtual environment's ROS wheels would be taken for this one's.
unexport PYTHONPATH PYTHONHOME LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE RMW_IMPLEMENTATION
# Without compiled files each of the hundreds of processes that tests start takes a second more.
unexport PYTHONDONTWRITEBYTECODE
export AMENT_PREFIX_PATH := $(abspath $(VENV))
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST

# Tests that import torch.
TORCH := engines training/network training/learning training/evaluation training/studies \
	hostile/test_hostile_checkpoints.py

.PHONY: help demo check quick-wings quick-others test whole-halls whole-wings test-oldest soak lint format clean \
	distclean refresh
.DEFAULT_GOAL := help

help:
	@echo "make demo    speak a sentence through the talker node on ROS 2; results in $(OUT)/, and"
	@echo "             a page that talks until Ctrl-C (DEMO_ONCE=1: without it)"
	@echo "             options: TEXT=\"a sentence\"  WAV=recording.wav  FPS=60  OUT=folder"
	@echo "                      MODEL=bundle.onnx"
	@echo "make check   lint, types and the tests that need neither ROS nor torch (2 minutes)"
	@echo "make test    lint, types and all tests (20 minutes)"
	@echo "make test-oldest  the tests of make check with the oldest dependencies (4 minutes)"
	@echo "make soak    run the talker node for MINUTES=10 of traffic and judge it"
	@echo "make lint    ruff and mypy only"
	@echo "make format  let ruff put the code in order"
	@echo "make clean   remove what was built (distclean: and $(VENV))"
	@echo "PYTHON=python3.12 (before the first run) chooses the interpreter of $(VENV)"

demo: $(VENV)/demo.stamp
	@$(MAKE) --no-print-directory refresh
	@$(PY) -c 'import rclpy' 2>/dev/null || { \
	  echo "There are no ROS 2 wheels for $$(uname -sm) with $$($(PY) -V): they exist for"; \
	  echo "Linux x86_64 and Python 3.10 to 3.13. Install ROS 2 from your distribution and"; \
	  echo "build this repository with colcon (see README.md), or animate without ROS:"; \
	  echo "  $(VENV)/bin/dualtalker animate recording.wav -o $(OUT) --video"; \
	  echo "  $(VENV)/bin/dualtalker speak \"Hello, I am a robot.\" -o $(OUT)"; \
	  exit 1; }
	@$(PY) -m dualtalker_ros.demo $(if $(WAV),--wav "$(WAV)") $(if $(TEXT),--text "$(TEXT)") \
	  $(if $(MODEL),--model "$(MODEL)") --fps $(FPS) --output "$(OUT)"

# Under two minutes on two cores.
check: $(VENV)/test.stamp
	@$(MAKE) --no-print-directory -j3 --output-sync lint quick-wings quick-others

# Two halves, for two cores.
OTHERS := repository cli hostile bags training
QUICK := -m pytest -m "not slow and not ros" $(TORCH:%=--ignore=tests/%)

quick-others: $(VENV)/test.stamp
	$(PY) $(QUICK) $(OTHERS:%=tests/%)

quick-wings: $(VENV)/test.stamp
	$(PY) $(QUICK) $(OTHERS:%=--ignore=tests/%)

# Twenty minutes. What measures in real time comes last, with nothing beside it.
test: $(VENV)/test.stamp
	@$(MAKE) --no-print-directory -j3 --output-sync lint whole-halls whole-wings
	DUALTALKER_REQUIRE_ROS=1 $(PY) -m pytest -m "ros or timed"

# Two halves of the rest, as for `make check`.
HALLS := training cli hostile bags
UNTIMED := -m pytest -m "not ros and not timed"

whole-halls: $(VENV)/test.stamp
	DUALTALKER_REQUIRE_ROS=1 $(PY) $(UNTIMED) $(HALLS:%=tests/%)

whole-wings: $(VENV)/test.stamp
	DUALTALKER_REQUIRE_ROS=1 $(PY) $(UNTIMED) $(HALLS:%=--ignore=tests/%)

# Four minutes, after an installation of one.
test-oldest: $(OLDEST)/oldest.stamp
	$(OLDEST)/bin/python $(QUICK) --ignore=tests/ros

$(OLDEST)/oldest.stamp: setup.py tests/stand_ins/lower_bounds.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 12))' || { \
	  echo "$$($(PYTHON) -V) is too new for the oldest dependencies, which have wheels for 3.10"; \
	  echo "and 3.11: make test-oldest PYTHON=python3.11"; exit 1; }
	@rm -rf $(OLDEST)
	@$(MAKE) --no-print-directory VENV=$(OLDEST) $(OLDEST)/venv.stamp
	@echo "Installing the oldest dependencies into $(OLDEST) (a minute, 600 MB) ..."
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
	  $$($(OLDEST)/bin/python tests/stand_ins/lower_bounds.py)
	@touch $@

# Longer than what a commit waits for: nightly, and before a release with MINUTES=60.
soak: $(VENV)/test.stamp
	$(PY) benchmarks/soak.py --minutes $(MINUTES)

lint: $(VENV)/test.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m mypy benchmarks

format: $(VENV)/test.stamp
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf dist *.egg-info build/lib build/bdist.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@# What colcon made has its mark; results (demo_out, out) are yours to delete.
	@for folder in build install log ros2_ws/build ros2_ws/install ros2_ws/log; do \
	  if [ -e "$$folder/COLCON_IGNORE" ]; then rm -rf "$$folder"; fi; done; \
	rmdir build 2>/dev/null || true

distclean: clean
	@for folder in "$(VENV)" "$(OLDEST)"; do \
	  if [ -e "$$folder/venv.stamp" ]; then rm -rf "$$folder"; \
	  elif [ -e "$$folder" ]; then echo "$$folder was not made by make: not removed"; exit 1; fi; done

# The installed package lags behind the checkout until this runs; the tests use the checkout.
refresh: $(VENV)/package.stamp

$(VENV)/package.stamp: $(SOURCES)
	@rm -rf build/lib build/bdist.*
	@$(PIP_INSTALL) --no-deps --force-reinstall .
	@touch $@

# Plain installs, not editable ones, which leave out share/ and the ament marker: ROS would not
# find the package. build/lib is removed so that deleted modules are not installed again.
$(VENV)/demo.stamp: $(SETTINGS) | $(VENV)/venv.stamp
	@echo "Installing dualtalker and ROS 2 Jazzy into $(VENV) (half a minute, 600 MB) ..."
	@rm -rf build/lib build/bdist.*
	@$(PIP_INSTALL) ".[ros,speech,video]"
	@touch $@ $(VENV)/package.stamp

$(VENV)/test.stamp: $(SETTINGS) | $(VENV)/venv.stamp
	@echo "Installing dualtalker, ROS 2 Jazzy, torch and the tools into $(VENV)" \
	  "(1 to 3 minutes, 2 GB) ..."
	@rm -rf build/lib build/bdist.*
	@$(PIP_INSTALL) ".[train,engines,ros,speech,dev]"
	@touch $@ $(VENV)/demo.stamp $(VENV)/package.stamp

$(VENV)/venv.stamp:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "No '$(PYTHON)' here. Install Python 3.10 or newer, or name yours: make PYTHON=..."; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "$$($(PYTHON) -V) is too old: Python 3.10 or newer is needed: make PYTHON=python3.12"; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$$($(PYTHON) -V) cannot make virtual environments."; \
	  echo "On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@
