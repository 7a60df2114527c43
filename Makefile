# Two commands are all that a newcomer needs: make demo, make test. `make help` shows the others.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-down test lint test-unit test-templates test-contracts \
        test-simulation soak test-molecule test-demo lock clean

VENV := .venv/bin
DEMO_INVENTORY ?= inventories/lab
DEMO_VARS ?=
export PATH := $(CURDIR)/$(VENV):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Hundreds of Python processes are started; where this is set, each compiles everything anew.
unexport PYTHONDONTWRITEBYTECODE

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install packages and .venv, where they are missing
	@sh scripts/setup.sh

demo: setup ## Two data centres, Mesos, and Kubernetes on it (DEMO_VARS=FILE, DEMO_INVENTORY=DIR)
	@kubedcos demo up --inventory "$(DEMO_INVENTORY)" $(if $(DEMO_VARS),--vars "$(DEMO_VARS)")

demo-down: setup ## Remove what the demo made, and nothing else
	@kubedcos demo down --inventory "$(DEMO_INVENTORY)"

test: setup ## Everything that CI runs
	@sh scripts/test.sh

lint: setup ## ruff, mypy, import-linter, yamllint, ansible-lint
	@sh scripts/lint.sh

test-unit: setup ## Unit tests
	@pytest tests/unit

test-templates: setup ## Golden files of the templates
	@pytest tests/templates

test-contracts: setup ## Mesos' and Mesos-DNS' contracts, held against the embedded engine
	@pytest tests/contracts

test-simulation: setup ## Whole stagings in virtual time
	@pytest tests/simulation

SEEDS ?= 1000
FIRST ?= 0
soak: setup ## Seeds of faults in virtual time, on all cores (SEEDS=N, FIRST=K); death at any effect
	@python -m tests.simulation.soak --seeds "$(SEEDS)" --first "$(FIRST)"
	@SIMULATION_EFFECTS=all pytest --quiet tests/simulation -k killed_at_any_effect

test-molecule: setup ## The whole lab: converge, idempotence, stillness, verify
	@molecule test

test-demo: setup ## The checks of tests/infra against the running demo
	@pytest tests/infra --hosts='ansible://all' --ansible-inventory="$(DEMO_INVENTORY)"

lock: setup ## Write constraints.txt anew from pyproject.toml
	@sh scripts/lock.sh

clean: ## Remove what tools left in the checkout; the cache in ~/.cache/kubedcos stays
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .ansible build dist
	@find src tests -name __pycache__ -prune -exec rm -rf {} +
