# Two commands do everything: `make up` and `make test`. The others are parts of them, or take longer on purpose.
BIN := .venv/bin
LAB ?= lab
PROFILE ?= minimal

.PHONY: up down vagrant-up test lint fast guides e2e apiserver labs roles soak faults drills interop browser bench wheel clean .setup-test
.DEFAULT_GOAL := up

up:  ## a lab on this machine: container hosts, Kubernetes, simulated GPUs, a model trained, a report; PROFILE=full for all components
	@./setup.sh up
	@$(BIN)/arena-install up --name $(LAB) --profile $(PROFILE)

down:  ## remove that lab without a trace
	@$(BIN)/arena-install lab down $(LAB) --yes

vagrant-up:  ## the same on virtual machines; needs vagrant with libvirt or VirtualBox (vagrant/Vagrantfile)
	@command -v vagrant >/dev/null || { echo "vagrant is missing; fix: apt-get install vagrant vagrant-libvirt" >&2; exit 2; }
	@./setup.sh up
	cd vagrant && vagrant up
	@$(BIN)/arena-install up -i vagrant/hosts.ini -c $${ARENA_CLUSTER:-vagrant/cluster.yaml} --profile $(PROFILE)

test: fast e2e apiserver labs roles  ## set-up and all tests: fast ones first, then real clusters in labs

lint: .setup-test
	$(BIN)/ruff check installer tests
	$(BIN)/mypy
	PYTHONPATH=installer $(BIN)/lint-imports

fast: lint  ## no lab, a few minutes
	$(BIN)/pytest tests/unit -n 2 -q

guides: .setup-test  ## run docs/guides in a lab (ARENA_E2E_LAB, or one made for it) and write what their commands print
	$(BIN)/pytest tests/e2e/test_guides.py -q --update-guides

e2e: .setup-test  ## whole clusters: the newcomer's road, the wheel over a jump host, jobs and guides; builds what is not cached
	$(BIN)/pytest tests/e2e/test_up.py tests/e2e/test_access.py -q -x --durations=10
	$(BIN)/pytest tests/e2e/test_arena_jobs.py tests/e2e/test_guides.py -q --durations=10

browser: .setup-test  ## notebooks and the dashboard in headless Chromium, in a lab
	$(BIN)/pytest tests/e2e/test_dashboard.py tests/e2e/test_notebooks.py -q

apiserver: .setup-test  ## stack and arena against a real API server on loopback, charts by the real Helm; uses what e2e built
	$(BIN)/pytest tests/apiserver -q
	ARENA_TEST_HELM=required $(BIN)/pytest tests/unit/arena_cli -q

labs: .setup-test  ## container hosts without a cluster: made, killed, grown, removed
	$(BIN)/pytest tests/e2e/test_lab_podman.py tests/e2e/test_rootfs.py -q

roles: .setup-test  ## every role on container hosts, twice, and back
	$(BIN)/pytest tests/roles -q

soak:  ## `up` killed at some fifty points; half an hour, goes on where it ended, writes docs/soak.md
	@./setup.sh test
	$(BIN)/python tests/soak/kill.py

faults:  ## every fault in a lab: pass, fail, mend, pass; an hour, goes on where it ended, writes docs/faults.md
	@./setup.sh test
	$(BIN)/pytest tests/faults -q; status=$$?; $(BIN)/python tests/faults/page.py; exit $$status

drills: .setup-test  ## jobs of every kind under kills, drains and restarts; each component out and in; half an hour, in a lab
	$(BIN)/pytest tests/e2e/test_recovery.py tests/e2e/test_catalogue.py -q --durations=20

interop: .setup-test  ## our arena and upstream's, built for it, on one API server: each sees and deletes the other's
	$(BIN)/pytest tests/interop -q

bench:  ## ratios against other tools, printed; never part of a test
	@./setup.sh test
	$(BIN)/python tests/bench/bench.py

.setup-test:
	@./setup.sh test

wheel:
	uv build --wheel

clean:
	rm -rf .venv .tools dist
