# Two commands do everything: `make up` and `make test`. The others are parts of them, or take longer on purpose.
BIN := .venv/bin
LAB ?= lab

.PHONY: up down test fast roles e2e lint soak bench wheel clean
.DEFAULT_GOAL := up

up:  ## a lab on this machine: container hosts, Kubernetes, simulated GPUs, a model trained, a report
	@./setup.sh up
	@$(BIN)/arena-install up --name $(LAB)

down:  ## remove that lab without a trace
	@$(BIN)/arena-install lab down $(LAB) --yes

test: fast e2e  ## set-up and all tests: fast ones first, then a whole cluster in a lab

lint: .setup-test
	$(BIN)/ruff check installer tests
	$(BIN)/mypy
	PYTHONPATH=installer $(BIN)/lint-imports

fast: lint  ## no root, no network, a minute or two
	$(BIN)/pytest tests/unit -n 2 -q

e2e: .setup-test  ## a lab of its own: roles, whole cluster, verification, and its removal
	$(BIN)/pytest tests/e2e -q -x --durations=10

.setup-test:
	@./setup.sh test

wheel:
	uv build --wheel

clean:
	rm -rf .venv .tools dist
