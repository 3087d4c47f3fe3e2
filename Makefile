# Everything starts here: `make help`. On a fresh Debian 12, with nothing installed but make, each verb
# sets up what it needs: as root with apt, without root it says what is missing (make demo needs python3
# with venv or pip, no more). Python packages are locked (uv.lock) and stay in .venv; uv itself in .tools.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

UV_VERSION := 0.13.9
PYTHON ?= /usr/bin/python3
UV := .tools/uv-$(UV_VERSION)/bin/uv
BIN := .venv/bin
# That of the venv that uv is in, or the distribution's, where uv was put into a folder by it.
PIP = $(if $(wildcard $(dir $(UV))pip),$(dir $(UV))pip,$(PYTHON) -m pip)
C_FILES = $(shell find ebpf tests -name '*.[ch]' 2>/dev/null)

# The distribution's Python, with its packages in sight: BCC is only there, built for that Python.
export UV_PYTHON_DOWNLOADS := never
export PYTHON

## demo: a real call through a relay on this machine, then the page to call from (ONCE=1: the call only)
.PHONY: demo
demo: .venv/.stamp-demo
	@$(BIN)/voxpop demo $(if $(filter-out 0,$(ONCE)),--once)

## test: all tests, JOBS=3 at a time (ARGS="tests/core -k token" for some)
JOBS ?= 3
.PHONY: test
test: .venv/.stamp-test
	$(BIN)/pytest -n $(JOBS) $(ARGS)

## test-clock: what takes the time as a value, once more on a clock that starts at zero; needs root
PURE := $(addprefix tests/,core edge/relay edge/nexthops edge/metrics edge/health edge/lab/wan edge/lab/bird \
    $(addprefix transceiver/,media turns realtime sdp backends session caller))
.PHONY: test-clock
test-clock: .venv/.stamp-test
	.ci/at-boot $(BIN)/pytest -n $(JOBS) -m "not slow and not netns" $(PURE)

## check: lint, format, types, import rules
.PHONY: check
check: .venv/.stamp-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(if $(C_FILES),clang-format --dry-run -Werror $(C_FILES))
	shellcheck .ci/at-boot .ci/need .ci/get-uv .ci/run
	$(BIN)/python -m release.audit

## audit: known flaws of what we install, by a service; needs a network
AUDIT_VERSION := 2.10.1
.PHONY: audit
audit: .venv/.stamp-check
	$(BIN)/python -m release.audit
	@$(UV) export --quiet --locked --no-default-groups --no-emit-project > .venv/audit.txt
	$(UV) tool run pip-audit@$(AUDIT_VERSION) --strict --require-hashes --disable-pip --requirement .venv/audit.txt

## format: put everything in the form that `make check` wants
.PHONY: format
format: .venv/.stamp-check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(C_FILES),clang-format -i $(C_FILES))

## peers: clients of other makers, unchanged, against what we serve (ARGS="-k agents" for some)
.PHONY: peers
peers: .venv/.stamp-peers
	VOXPOP_PEERS=1 $(BIN)/pytest tests/peers $(ARGS)

## fuzz: every parser against garbage, SECONDS_EACH=20 each (ONLY=name for one; MINUTES=120 for all, state machines too)
SECONDS_EACH ?= 20
.PHONY: fuzz
fuzz: .venv/.stamp-fuzz
	@$(BIN)/python tests/fuzz/run.py $(if $(MINUTES),--minutes $(MINUTES),$(SECONDS_EACH)) $(ONLY)

## bench: the figures and their targets, as a table and in bench.json (ONLY=name for one part)
.PHONY: bench
bench: .venv/.stamp-test
	@$(BIN)/python -m tests.bench.run $(ONLY)

## drills: what dies under real calls, as a table, in drills.json and docs/drills.md; needs root (ONLY=name)
.PHONY: drills
drills: .venv/.stamp-test
	@$(BIN)/python -m tests.drills.run $(ONLY)

## soak: calls over a backend's WebSocket for MINUTES=120, CALLS=20 at a time: what they leave behind
MINUTES ?= 120
CALLS ?= 20
.PHONY: soak
soak: .venv/.stamp-test
	@exec $(BIN)/python -m tests.soak.run $(MINUTES) $(CALLS)

## container-check: replay docs/kubernetes/Containerfile in a chroot and run what comes of it; needs root
.PHONY: container-check
container-check: .venv/.stamp-container
	$(BIN)/python -m tests.kubernetes.replay

## bundle: dist/voxpop-VERSION-MACHINE.tar, from which hosts are installed without a network (COMMIT=HEAD)
COMMIT ?= HEAD
.PHONY: bundle
bundle: .venv/.stamp-dev
	@$(BIN)/python -m release.bundle --uv $(UV) --pip "$(PIP)" --commit $(COMMIT)

## bundle-check: build the bundle twice, compare, install it without a network, and have it carry a call
.PHONY: bundle-check
bundle-check: .venv/.stamp-dev
	$(BIN)/python -m tests.release.replay --uv $(UV) --pip "$(PIP)"

## check-ansible: lint, the oldest and the newest Ansible, templates rendered and judged, bad inventories refused
.PHONY: check-ansible
check-ansible: .venv/.stamp-check .tools/.stamp-ansible
	$(BIN)/python -m tests.ansible.collection

## acceptance: provisioned from nothing, called, rebooted: virtual machines of Debian, as a table; needs root (FROM=step, ONLY=step)
.PHONY: acceptance
acceptance: .venv/.stamp-acceptance .tools/.stamp-ansible $(if $(FROM)$(ONLY),,bundle)
	@$(BIN)/python -m tests.acceptance.run $(if $(FROM),--from $(FROM)) $(if $(ONLY),--only $(ONLY))

## venv: only set up the Python environment
.PHONY: venv
venv: .venv/.stamp-dev

## clean: remove what was built; the next command sets up again
.PHONY: clean
clean:
	rm -rf .venv .tools tests/peers/npm/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench.json drills.json soak.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

## help: this list
.PHONY: help
help:
	@sed -n 's/^## \([a-z-]*\): /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

$(UV):
	@.ci/need --hint run
	@.ci/get-uv $(UV_VERSION)

.venv/pyvenv.cfg: | $(UV)
	@$(UV) venv --quiet --python $(PYTHON) --system-site-packages .venv

# What runs is installed first and alone; the tools of developers come on top, so that who only wants to hear
# it does not wait for them. --inexact leaves in place what a developer has. All that needs the tools
# hangs on stamp-dev, which is as exact as the lock file, and so takes away what others add after it.
.venv/.stamp-run: .venv/pyvenv.cfg pyproject.toml uv.lock .ci/packages.txt | $(UV)
	@.ci/need --hint run
	@echo "Installing the Python packages of uv.lock in .venv …"
	@$(UV) sync --quiet --locked --no-default-groups --inexact
	@touch $@

.venv/.stamp-dev: .venv/.stamp-run | $(UV)
	@echo "Installing the developers' tools of uv.lock in .venv …"
	@$(UV) sync --quiet --locked --group dev
	@touch $@

# Two Ansibles with needs of their own, away from .venv.
.tools/.stamp-ansible: uv.lock pyproject.toml ansible/tests/oldest.txt | $(UV)
	@.ci/need ansible
	@echo "Installing the newest Ansible of uv.lock, and the oldest that the collection works with, in .tools …"
	@UV_PROJECT_ENVIRONMENT=.tools/ansible $(UV) sync --quiet --locked --only-group ansible --python $(PYTHON)
	@$(UV) venv --quiet --clear --python $(PYTHON) .tools/ansible-oldest
	@$(UV) pip sync --quiet --python .tools/ansible-oldest --require-hashes ansible/tests/oldest.txt
	@touch $@

# The fast path needs root to run, so only root needs what it is made of.
.venv/.stamp-demo: .venv/.stamp-run
	@[ "$$(id -u)" != 0 ] || .ci/need demo
	@touch $@

.venv/.stamp-check .venv/.stamp-test .venv/.stamp-container .venv/.stamp-acceptance: .venv/.stamp-%: .venv/.stamp-dev
	@.ci/need $*
	@touch $@

.venv/.stamp-fuzz: .venv/.stamp-test
	@$(UV) sync --quiet --locked --inexact --group fuzz
	@touch $@

# Node.js is a wheel of uv.lock too: the distribution's is too old for what these packages want.
.venv/.stamp-peers: .venv/.stamp-test tests/peers/npm/package-lock.json tests/peers/frameworks/uv.lock
	@.ci/need peers
	@$(UV) sync --quiet --locked --inexact --group peers
	@echo "Installing the npm packages of tests/peers/npm/package-lock.json …"
	@PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/npm ci --prefix tests/peers/npm --silent
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv/frameworks $(UV) sync --quiet --locked --project tests/peers/frameworks \
	    --python $(PYTHON)
	@touch $@
