# `make demo` and `make test` need nothing else to be typed; `make help` lists the rest.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.set-up
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo train-tiny test test-long check format build

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 12

setup: $(READY)  ## the virtual environment, pinned packages and OpenGL; done by the others as well

# Newer pins or dependencies are a reason to set up again; nothing else is.
$(READY): pyproject.toml constraints.txt scripts/set_up.sh
	@scripts/set_up.sh $(VENV)
	@touch $@

demo: $(READY)  ## the shipped model does what goal images show, in MuJoCo
	@$(BIN)/vjepa-gym demo

train-tiny: $(READY)  ## the shipped model once more, from data to its table; goes on where it stopped
	@scripts/train_tiny.sh

test: $(READY)  ## all tests, on the CPU, without a network
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term

test-long: $(READY)  ## what takes many minutes, at full count
	$(BIN)/python -m pytest -s tests/long

check: $(READY)  ## style, types, and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache

format: $(READY)  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(READY)  ## the wheel and the sdist, installed apart from the checkout and tried
	rm -rf dist build
	$(BIN)/python -m build --no-isolation
	@scripts/try_wheel.sh $(VENV)
