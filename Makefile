# The commands of this repository. README.md lists the variables that they read; a value may also be given to make:
#   make up GATEWAY_PORT=9080 RUN_DIR=/var/tmp/second

PYTHON ?= python3
VENV := .venv/bin
export PYTHON

# Containers, their storage and the file systems inside need root, and so do workers. Redis, nginx's workers and both services give it up
# where another user can read what they need (misc/native/users.py).
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo -E env "PATH=$$PATH")
NATIVE := $(AS_ROOT) $(PYTHON) -m misc.native

# More than there are processors: most of the time a test waits for programs that it started.
TEST_PROCESSES ?= 6

SOURCES := asu asu-prepare tests misc

.DEFAULT_GOAL := help
.PHONY: help install demo up down test smoke lint format bench fuzz nemesis audit sbom sync-resolution lock

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Install what is missing: Debian packages and the virtual environment
	@misc/native/install

demo: ## Set everything up and upgrade one device through the gateway, step by step
	@began=$$(date +%s) && misc/native/install system && BEGAN=$$began $(NATIVE) demo

up: ## Start the whole system natively
	@misc/native/install system && $(NATIVE) up

down: ## End exactly what `make up` and `make demo` started
	@$(NATIVE) down

# Without bytecode each of the many programs that tests start would compile itself.
test: export PYTHONDONTWRITEBYTECODE :=
test: install ## Run every test of both services, TEST_PROCESSES (6) files at a time, and list the slow tests
	@$(AS_ROOT) $(VENV)/python -m pytest --numprocesses=$(TEST_PROCESSES) --dist=loadfile --no-loadscope-reorder \
		--durations=10 --durations-min=10 $(PYTEST_ARGS)

smoke: install ## Start the compose files for real, scale and replace their parts under load, and take them down
	@$(AS_ROOT) $(VENV)/python -m tests.smoke $(PARTS)

lint: install ## Check style, types and the walls between the parts
	$(VENV)/ruff check $(SOURCES)
	$(VENV)/ruff format --check $(SOURCES)
	$(VENV)/mypy asu misc tests
	cd asu-prepare && ../$(VENV)/mypy --config-file ../pyproject.toml asu_prepare tests
	$(VENV)/lint-imports

format: install ## Put the sources into their form
	$(VENV)/ruff check --fix $(SOURCES)
	$(VENV)/ruff format $(SOURCES)

bench: install ## Measure the bars that the design sets
	@$(AS_ROOT) $(VENV)/python -m misc.bench

fuzz: install ## Send what the OpenAPI files allow, and much that they do not, through the gateway for FUZZ_SECONDS (600)
	@$(AS_ROOT) $(VENV)/python -m misc.fuzz

audit: install ## Look for known vulnerabilities in what the locks pin; AUDIT_ARGS=--strict fails where nobody can tell
	@$(VENV)/python -m misc.supply audit $(AUDIT_ARGS)

pin: install ## Pin the container images of the deployment files to the digests that their tags have today
	@$(VENV)/python -m misc.supply pin

sbom: install ## Write what both container images hold to .run/sbom (CycloneDX)
	@$(VENV)/python -m misc.supply sbom .run/sbom

nemesis: install ## Break everything but the promises: faults of SEED (1) for NEMESIS_SECONDS (180) under 60 requests, and a verdict
	@$(AS_ROOT) $(VENV)/python -m tests.nemesis

sync-resolution: ## Copy asu's decision core to asu-prepare, byte for byte
	find asu-prepare/asu_prepare/resolution -type f -delete
	cp -R asu/resolution/. asu-prepare/asu_prepare/resolution/
	find asu-prepare/asu_prepare/resolution -name __pycache__ -prune -exec rm -r {} +

# uv resolves for every platform and Python at once; pip's own resolver sees only the machine that it runs on.
LOCK = UV_CUSTOM_COMPILE_COMMAND="make lock" .run/lock-venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes
lock: ## Pin the newest dependencies that the pyproject.toml files allow, with their hashes
	$(PYTHON) -m venv --clear .run/lock-venv
	.run/lock-venv/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOCK) pyproject.toml --all-extras --output-file requirements.lock
	$(LOCK) asu-prepare/pyproject.toml --output-file asu-prepare/requirements.lock
	$(LOCK) pyproject.toml asu-prepare/pyproject.toml --all-extras --group dev --output-file requirements-dev.lock
