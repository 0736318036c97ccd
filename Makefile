# Konsil. `make help` lists the targets; each does its own set-up on a fresh machine.
SHELL := /bin/bash
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.konsil-setup
WORKERS ?= auto
DEMO_ARGS ?=
TEST_ARGS ?=
PAIRS ?= 1000000
PATIENTS ?= 50
BENCH_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-search test-debian-postgresql run lint format typecheck bench bench-peers hl7-bench hl7-coverage docs lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-24s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements-dev.txt pyproject.toml
	@docker/setup-machine python $(PYTHON) $(VENV)
	@touch $@

$(VENV)/.konsil-packages-%: docker/debian-packages.txt | $(STAMP)
	@docker/setup-machine packages $*
	@touch $@

setup: $(STAMP) ## Make .venv with the `konsil` command

demo: $(STAMP) $(VENV)/.konsil-packages-demo ## Play one whole case, from intake to report, against a small simulated hospital
	@$(BIN)/konsil demo $(DEMO_ARGS)

test: $(STAMP) $(VENV)/.konsil-packages-demo $(VENV)/.konsil-packages-test ## Run the tests in parallel, on the embedded PostgreSQL and on Debian's where it is installed
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup $(TEST_ARGS)
	@$(MAKE) --no-print-directory test-debian-postgresql

test-search: $(STAMP) ## Compare PAIRS (1,000,000) generated searches with an evaluation of the specification's text
	@KONSIL_SEARCH_PAIRS=$(PAIRS) $(BIN)/pytest -q -p no:xdist tests/conformance/test_search_oracle.py

test-debian-postgresql: $(STAMP) ## Run the tests that touch the database on Debian's own PostgreSQL
	@docker/with-debian-postgresql $(BIN)/pytest -n $(WORKERS) --dist loadgroup $(TEST_ARGS) tests/fhir_server tests/journeys

run: $(STAMP) ## Serve FHIR at http://127.0.0.1:8000/fhir and MLLP at 2575
	@$(BIN)/konsil serve

lint: $(STAMP) ## Lint, format check, types, import contracts, Dockerfile, YAML, documentation
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint docker/Dockerfile
	@$(BIN)/yamllint --strict docker mappings sites .pre-commit-config.yaml
	@docker/check-no-registry-address
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

format: $(STAMP) ## Format the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: $(STAMP) $(VENV)/.konsil-packages-demo ## Measure reads/s, creates/s, transaction entries/s, MLLP messages/s beside the machine's limits
	@$(BIN)/python -m bench

bench-peers: $(STAMP) $(VENV)/.konsil-packages-bench ## Compare with HAPI FHIR on the same PostgreSQL (PATIENTS=50, about 330 resources each) and write docs/performance.md
	@$(BIN)/python -m bench.peers --patients $(PATIENTS) --write $(BENCH_ARGS)

hl7-bench: $(STAMP) ## Measure HL7 v2 parsing and mapping on one core
	@$(BIN)/python -m bench.hl7_mapping

hl7-coverage: $(STAMP) ## List the v2-to-FHIR guide's fields: implemented, replaced by ours, or not and why
	@$(BIN)/python -m bench.hl7_coverage

docs: $(STAMP) ## Build the documentation into docs/_build
	@$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

lock: $(STAMP) ## Pin the newest dependencies, with hashes
	@$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --all-extras --custom-compile-command "make lock" pyproject.toml -o requirements-dev.txt
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --extra build --custom-compile-command "make lock" -c requirements-dev.txt pyproject.toml -o requirements.txt

clean: ## Remove what setup and the tests made (data under var/ stays)
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache docs/_build build *.egg-info
