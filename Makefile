# Crossfade's one menu.  Every target sets up what it needs; nothing has to be installed by hand
# but make, Python 3.11 or newer and, for the tests, root on a Debian machine.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 3
# Else every command of the tests compiles the program anew, which is half of what it takes.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-whole check fmt bench docs news clean

help:           ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: .venv/.run                 ## the program at .venv/bin/crossfade
setup-dev: .venv/.dev             ## the program with everything its tests need

.venv/.run: requirements/build.txt requirements/run.txt pyproject.toml
	@sh tools/setup $(PYTHON) run

.venv/.dev: requirements/build.txt requirements/dev.txt pyproject.toml
	@sh tools/setup $(PYTHON) dev

demo: setup     ## upgrade a real application, under load, on this machine (DB=postgres, DB=mariadb)
	$(BIN)/crossfade demo$(if $(DB), --db $(DB))

test: setup-dev ## every test, with the real services they need
	@sh tools/test-services
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-whole: export CROSSFADE_WHOLE = 1
test-whole: test ## the tests, and what takes too long for every day: all points of a crash, long waits

check: setup-dev  ## formatting, lint, types, layers
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: setup-dev  ## format and mend what can be mended
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

bench: setup-dev  ## us and the peers, side by side in one run, as ratios
	@sh tools/test-services bench
	$(BIN)/python -m benchmarks

docs: setup     ## the documentation, as a site
	@sh tools/setup $(PYTHON) docs
	$(BIN)/mkdocs build --strict

news: setup-dev ## what the next changelog would say
	$(BIN)/towncrier build --draft --version next

clean:          ## remove what the targets above made
	rm -rf .venv build dist site demo-run bench-run
