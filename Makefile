# One command each; every target makes what it needs (.venv, from the hash-locked requirements) and is quick the second time.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PACKAGES := acp_wire event_log ars_acp connector acp_check ars_gateway ars_cli
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install -qq --require-hashes
NODE := tests/e2e/node
# How many processes run the tests, a file in one of them each: make test JOBS=0 runs all in the one that reports.
JOBS ?= auto
# In the order of their names: by the number of their tests, which is xdist's order, the longest would come last.
SHARED := -n $(JOBS) --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

# A checkout that was moved, or whose Python is gone, gets a new environment.
ifneq ($(shell cat $(VENV)/.home 2>/dev/null && $(PY) -IS -c '' 2>/dev/null && echo sound),$(CURDIR) sound)
.PHONY: $(VENV)/.home
endif

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo 'ARGS="..." goes on to the command: make test ARGS="tests/event_log -k torn". PYTHON=... names the Python to use.'

.PHONY: run
run: runnable ## a whole turn on a throw-away project, in the terminal (OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_MODEL: with your model)
	@$(VENV)/bin/ars chat --demo $(ARGS)

# Without a model of yours a scripted one answers.
SCRIPTED = $(if $(OPENAI_API_KEY)$(OPENAI_BASE_URL),,--agent '$(CURDIR)/$(VENV)/bin/ars-acp --script $(CURDIR)/fixtures/scripts/gateway.script')
.PHONY: run-gateway
run-gateway: runnable ## the Gateway and its web page on port 18789, until Ctrl-C (OPENAI_…: with your model; without one say demo)
	@$(VENV)/bin/ars-gateway $(SCRIPTED) $(ARGS)

.PHONY: test
test: testable node ## every test, real processes and clients included (COVER=1: with the coverage gate)
ifdef COVER
	@$(PY) -m coverage erase
	@$(PY) -m coverage run -m pytest $(SHARED) $(ARGS)
	@$(PY) -m coverage combine --quiet
	@$(PY) tests/tidy/coverage_gate.py
else
	@$(PY) -m pytest $(SHARED) $(ARGS)
endif

.PHONY: cover
cover: ## every test under coverage, subprocesses too: 90 % of the lines of each package
	@$(MAKE) --no-print-directory test COVER=1

.PHONY: check
check: testable ## lint, format, strict types, the house rules (tests/tidy)
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(PY) -m pytest -q tests/tidy

.PHONY: e2e
e2e: testable node ## only the tests with real processes and real clients
	@$(PY) -m pytest -m e2e $(ARGS)

.PHONY: faults
faults: testable node ## the counted faults in full: row, required, measured
	@FAULTS=full $(PY) -m pytest tests/faults -s -o faulthandler_timeout=1800 $(ARGS)

.PHONY: bench
bench: testable ## measure: start, first token, tokens/s, memory, cancel
	@$(PY) -m bench $(ARGS)

.PHONY: format
format: testable ## let ruff put imports and layout in order
	@$(VENV)/bin/ruff check --fix-only --quiet
	@$(VENV)/bin/ruff format

.PHONY: lock
lock: ## renew the locks (needs uv and npm on the PATH)
	@set -e; lock='uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade'; \
	$$lock requirements/build.in -o requirements/build.lock; \
	$$lock pyproject.toml -o requirements/run.lock; \
	$$lock pyproject.toml --extra dev -c requirements/run.lock -o requirements/dev.lock
	@cd $(NODE) && npm install --package-lock-only
	@cd $(NODE)/gateway && npm install --package-lock-only

.PHONY: clean
clean: ## remove the environment and every cache
	rm -rf $(VENV) $(NODE)/node_modules $(NODE)/gateway/node_modules build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(wildcard $(PACKAGES) tests bench) -name __pycache__ -prune -exec rm -rf {} +

# --- what the targets stand on ---

# Compiled here, as the first start counts and some machines forbid Python to write its caches by itself.
.PHONY: runnable
runnable: $(VENV)/.runnable
	@$(PY) -m compileall -q -x '/demo/' $(wildcard $(PACKAGES))

.PHONY: testable
testable: $(VENV)/.testable
	@$(PY) -m compileall -q -x '/demo/' $(wildcard $(PACKAGES))

$(VENV)/.home:
	@found=; for p in $(or $(PYTHON),python3 python3.13 python3.12 python3.14 python3.11 python); do \
	  if "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$p; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'make: no Python 3.11 or later with its venv module found; name one: make PYTHON=/path/to/python3 (Debian, Ubuntu: apt install python3-venv)' >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$found" -V); once, a minute or so."; \
	"$$found" -m venv --clear $(VENV)
	@echo "$(CURDIR)" >$@

# By hash in every step: what has to be built is built with the locked tools, not with ones fetched for the occasion.
$(VENV)/.runnable: $(VENV)/.home requirements/build.lock requirements/run.lock pyproject.toml
	@$(PIP) -r requirements/build.lock
	@$(PIP) --no-build-isolation --use-pep517 -r requirements/run.lock
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PY) -m pip --disable-pip-version-check install -qq --no-index --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.testable: $(VENV)/.runnable requirements/dev.lock
	@$(PIP) --no-build-isolation --use-pep517 -r requirements/dev.lock
	@touch $@

# Not `npm ci`: it refuses a lock that lacks another platform's optional packages. Versions and hashes come from the lock all the same.
.PHONY: node
node:
	@if ! command -v npm >/dev/null || ! command -v node >/dev/null; then \
	  printf '\n*** No node and npm here: the end-to-end tests with acpx, the TypeScript SDK and the real agents are SKIPPED. ***\n\n' >&2; \
	else \
	  for place in $(NODE) $(NODE)/gateway; do \
	    if [ ! $$place/node_modules/.ready -nt $$place/package-lock.json ]; then \
	      echo "Fetching clients and agents from npm for the end-to-end tests ($$place): 900 MB in all, once."; \
	      (cd $$place && npm install --no-save --loglevel=error) && touch $$place/node_modules/.ready || exit 1; \
	    fi; \
	  done; \
	fi

# A system's package, so it is fetched where it is asked for only: by name, and by CI.
.PHONY: browser
browser: ## fetch Chromium and its driver for the tests of the web page (Debian, Ubuntu)
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo 'make: install chromium and chromedriver, so that both are on the PATH' >&2; exit 1; fi; \
	as_root=; [ "$$(id -u)" = 0 ] || as_root='sudo -n'; \
	export DEBIAN_FRONTEND=noninteractive; \
	$$as_root apt-get update -qq && $$as_root apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null
