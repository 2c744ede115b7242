# Thin verbs over python, dbt, dagster and pytest. `make help` lists them.
# Settings are environment variables: ROLLCALL_HOME, ROLLCALL_LANDING, ROLLCALL_ENGINE.
# GNU make turns every failure into exit code 2; `.venv/bin/python -m dagster_project.run` keeps
# 0, 1 and 2 apart.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 3000
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# the rivals' packages, which nothing but the benchmarks needs
BENCH := .venv-bench
BENCH_INSTALLED := $(BENCH)/.installed
# the official client of the Delta Sharing server, which nothing but its tests needs
CLIENTS := .venv-clients
CLIENTS_INSTALLED := $(CLIENTS)/.installed
# What `make sql` runs, and where; passed through the environment, so that quotes survive.
export QUERY ENVIRONMENT BUILD AS_OF
export ONLY RUNS EVENTS OUT COUNT SEED

comma := ,

.DEFAULT_GOAL := help
.PHONY: help run test soak ui sharing sql docs demo bench clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(INSTALLED) ## land what is new, build, check and publish both environments, once
	@$(BIN)/python -m dagster_project.run

test: $(INSTALLED) $(CLIENTS_INSTALLED) ## linters, types and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	home=$$(mktemp -d) && mkdir "$$home/marts" && \
	  { ROLLCALL_HOME="$$home" $(BIN)/sqlfluff lint --processes 2 dbt_project; code=$$?; rm -rf "$$home"; exit $$code; }
	$(BIN)/pytest -n 2 --dist worksteal

soak: $(INSTALLED) $(CLIENTS_INSTALLED) ## promises held for long: kills, readers, fuzz, limits, growth, consumers (ONLY=kills COUNT=200 SEED=1)
	@$(BIN)/python -m tests.soak $(subst $(comma), ,$(ONLY)) $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED))

ui: $(INSTALLED) ## lineage, runs, checks and schedules on http://127.0.0.1:3000 (PORT=…)
	@$(BIN)/python -m dagster_project.ui --port $(PORT)

sharing: $(INSTALLED) ## a Delta Sharing server on http://127.0.0.1:8808 (PORT=…), see README "Share it"
	@$(BIN)/python -m dagster_project.server serve $(if $(filter command% environment%,$(origin PORT)),--port $(PORT))

sql: $(INSTALLED) ## a prompt on what is published, or QUERY="…" (ENVIRONMENT=sandbox, AS_OF=2025-01-31, BUILD=1)
	@$(BIN)/python -m dagster_project.sql

docs: $(INSTALLED) ## every table and column as one page, in ROLLCALL_HOME/docs (OUT=folder or page.html)
	@$(BIN)/python -m dagster_project.docs

demo: $(INSTALLED) ## demo extracts in the folder OUT=…
	@test -n "$(OUT)" || { echo "make demo: name a folder: make demo OUT=folder" >&2; exit 2; }
	@$(BIN)/python -m simulator --out "$(OUT)"

bench: $(INSTALLED) $(BENCH_INSTALLED) ## ours beside floors and rivals (ONLY=windows,sessions RUNS=5 EVENTS=… OUT=folder)
	@PYTHONPATH=$(CURDIR)/$(BENCH) $(BIN)/python -m benchmarks

clean: ## remove caches; data under ROLLCALL_HOME stays
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis dbt_project/target dbt_project/logs logs
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# pip brings uv, uv brings the rest (8 s instead of 44): both from locks with hashes.
$(INSTALLED): requirements.lock .ci/uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Python 3.11 is needed: install it, or name it: make PYTHON=/path/to/python3.11 …" >&2; exit 2; }
	@echo "Installing into $(VENV), once"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .ci/uv.lock
	@$(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode --python $(BIN)/python requirements.lock
	@touch $@

$(BENCH_INSTALLED): benchmarks/requirements.lock | $(INSTALLED)
	@echo "Installing the rivals into $(BENCH), once"
	@rm -rf $(BENCH)
	@$(BIN)/uv pip install --quiet --require-hashes --no-deps --python $(BIN)/python --target $(BENCH) -r benchmarks/requirements.lock
	@touch $@

$(CLIENTS_INSTALLED): tests/clients.lock | $(INSTALLED)
	@echo "Installing what tests load shares with into $(CLIENTS), once"
	@rm -rf $(CLIENTS)
	@$(BIN)/uv pip install --quiet --require-hashes --no-deps --python $(BIN)/python --target $(CLIENTS) -r tests/clients.lock
	@touch $@
