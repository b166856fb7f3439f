# What a person types. Everything is installed inside .venv from pinned versions; a second run installs nothing.

VENV   ?= .venv
PORT   ?= 8000
# Two processes for the tests, each with a browser and a database of its own; who is done takes tests from the other.
PARALLEL ?= -n 2 --dist worksteal
# Which Pythons to try, in this order; name one to decide yourself: make PYTHON=python3.12 test
PYTHON ?= python3 python3.13 python3.12 python3.11
export PYTHON

LOCK    := requirements/lock.txt
python  := $(VENV)/bin/python
pip     := $(python) -m pip --disable-pip-version-check --quiet
# A stamp carries the hash of what it was made from and where: touching a file installs nothing, changing one does.
key     := $(shell { pwd; cat pyproject.toml $(LOCK); } | cksum | tr -c '0-9\n' -)
stamp   := $(VENV)/.installed-

.PHONY: help demo test lint bench endure lock clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(stamp)demo-$(key) ## install what is missing and serve the demo site; PORT=8000
	@PORT=$(PORT) exec $(python) -m demo_site

test: $(stamp)test-$(key) browser postgres references ## every check: style, types, unit, server and browser tests
	@$(python) -m pytest $(PARALLEL) $(ARGS)

lint: $(stamp)test-$(key) ## style and types only
	@$(python) -m pytest tests/test_quality.py $(ARGS)

bench: $(stamp)test-$(key) ## each benchmark, one after the other
	@for file in benchmarks/p*_*.py; do echo "== $$file"; $(python) "$$file" || exit 1; done

endure: $(stamp)test-$(key) postgres ## ten minutes without each store, a quarter of an hour of load: an hour in all
	@for file in outage soak; do echo "== benchmarks/$$file.py"; $(python) "benchmarks/$$file.py" || exit 1; done

lock: ## pin the versions that a fresh install takes today
	@scripts/pin-requirements $(LOCK)

clean: ## remove everything that was made, the environment too
	@rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Chromium, and what Playwright's own program needs of a bare system.
.PHONY: browser
browser: $(stamp)test-$(key)
	@scripts/find-browser >/dev/null 2>&1 || { \
		[ -z "$$CONSENTMW_CHROMIUM" ] && echo "Installing Chromium for the browser tests" && \
		scripts/install-packages chromium; \
	}; scripts/find-browser >/dev/null
	@$(python) -m playwright --version >/dev/null 2>&1 || { \
		echo "Installing what drives the browser" && scripts/install-packages libatomic1; \
	}; $(python) -m playwright --version >/dev/null

# The server programs alone: each test run makes a private cluster in a temporary folder.
.PHONY: postgres
postgres:
	@scripts/find-postgres >/dev/null 2>&1 || { \
		[ -z "$$CONSENTMW_POSTGRES" ] && echo "Installing PostgreSQL for the tests of the store" && \
		scripts/install-packages postgresql; \
	}; scripts/find-postgres >/dev/null

# What others have made, to compare ours with: the official library for GPP strings, agents and what they are.
.PHONY: references
references: $(stamp)test-$(key)
	@scripts/install-reference $(VENV) gpp
	@scripts/install-reference $(VENV) agent
	@scripts/find-uap-core >/dev/null 2>&1 || { \
		[ -z "$$CONSENTMW_UAP_CORE" ] && echo "Installing what agents are compared with" && \
		scripts/install-packages uap-core; \
	}; scripts/find-uap-core >/dev/null

$(stamp)demo-$(key):
	@scripts/make-venv $(VENV)
	@echo "Installing consentmw and its demo into $(VENV)"
	@$(pip) install --constraint $(LOCK) --editable '.[demo]'
	@rm -f $(stamp)demo-*; touch $@

# --group needs a pip that is newer than some Pythons bring.
$(stamp)test-$(key):
	@scripts/make-venv $(VENV)
	@echo "Installing consentmw and its tests into $(VENV)"
	@$(pip) install --constraint $(LOCK) --upgrade pip
	@$(pip) install --constraint $(LOCK) --editable '.[clickhouse,demo,fast,geo,postgres]' --group test
	@rm -f $(stamp)test-* $(stamp)demo-*; touch $@ $(stamp)demo-$(key)
