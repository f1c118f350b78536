# The commands of this project. `make help` lists them; each does its own set-up.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# DVC runs every stage as `python -m stages.…`: the environment's own Python must come first.
WITH_ENVIRONMENT := PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/$(VENV)"
export MLFLOW_PORT ?= 5000
# Of `make faults`: how many of each random fault, and the seed of their moments.
N ?= 20
SEED ?= 0

.DEFAULT_GOAL := help
.PHONY: help setup repository faults demo demo-stages test test-all check paper bench ui clean pins

help: ## list these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(READY) ## make .venv with the pinned packages and this project

$(READY): requirements/all.txt requirements/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/all.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# A run of the demo keeps one core busy, so two are made at a time; `dvc repro demo` then does what is left.
DEMO_RUNS = sed -n 's|^  \(demo/[^ :]*\): *{.*|\1|p' runs.yaml own.yaml

# git says itself why it refuses a directory. A downloaded ZIP has no repository, and DVC works in none.
repository:
	@git rev-parse --git-dir >/dev/null || { echo "DVC works in a git repository only. In an unpacked ZIP, type: git init"; exit 1; }

demo: repository $(READY) ## the whole graph on scikit-learn's digits, then its main table (minutes on a CPU)
	@$(WITH_ENVIRONMENT) fairat warm $(MAKE) --no-print-directory demo-stages
	@cat reports/demo.txt

demo-stages:
	@dvc repro prepare@demo corrupt@demo
	@$(DEMO_RUNS) | sed 's|.*|train@& pgd@& autoattack@& square@& corruptions@&|' \
		| xargs -P 2 -n 20 dvc --wait-for-lock repro --single-item
	@dvc repro demo

test: $(READY) ## the tests, but for those that take minutes
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

test-all: $(READY) ## all tests, with runs of DVC, TeX and a compiler
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

faults: $(READY) ## kills, flips, full disks and dead servers, tallied (N=20 of each, SEED=0)
	@$(BIN)/python -m tests.faults --number $(N) --seed $(SEED)

check: $(READY) ## ruff and pyright
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/pyright

paper: $(READY) ## every table and figure made so far as reports/report.pdf; needs a TeX
	@$(BIN)/fairat pdf

bench: $(READY) ## how fast it is here, into benchmarks/results/
	@$(BIN)/python -m benchmarks

# Runs that came from DVC's cache are logged first. A server elsewhere has its own page, whose address is printed.
ui: $(READY) ## MLflow's page on the runs of this repository
	@$(BIN)/fairat track || true
	@case "$$MLFLOW_TRACKING_URI" in http*) ;; *) \
		MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --workers 1 \
		--backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}" --port $(MLFLOW_PORT);; esac

pins: $(READY) ## resolve requirements/*.txt anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make pins" --all-extras pyproject.toml -o requirements/all.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make pins" requirements/uv.in -o requirements/uv.txt

clean: ## remove what stages and set-up made; DVC's cache stays
	@rm -rf $(VENV) data runs results fingerprints reports/metrics reports/headline reports/tables reports/figures reports/demo.txt \
		reports/demo_report reports/significance reports/reproduction reports/reproduction.md reports/report.pdf \
		.resume logs pipeline/*.egg-info .pytest_cache .ruff_cache .hypothesis
	@find pipeline stages tests -name __pycache__ -type d -prune -exec rm -rf {} +
