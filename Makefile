# boxcam: what can be made here. Needs Python 3.11 with pip, and make; everything else is fetched, pinned by hash.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
ARGS ?=
SECONDS ?= 150
# How many tests run at once; with ARGS="-n 0 --pdb" one by one, in this process.
JOBS ?= $(shell env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2)
PYTEST := OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n $(JOBS) --dist loadgroup

# A uv that runs and is on PATH, or else one of our own, put aside where it touches nothing of the system's.
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .build/uv/bin/uv)
UV_NEEDED := $(filter .build/uv/bin/uv,$(UV))

# Hashes are always checked, and only wheels are taken: installing runs nobody's code.
SYNC := $(UV) pip sync --quiet --require-hashes --no-build
INSTALL := $(UV) pip install --quiet --no-deps --build-constraints requirements/build.txt
COMPILE := $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -c requirements/held.txt

DEV := .venv/.ready
RUNTIME := .venv-runtime/.ready
SIGNS := examples/signs
DEMO_SAMPLE := $(firstword $(sort $(wildcard $(SIGNS)/images/*.jpg $(SIGNS)/images/*.png)))
SHOWN := cat houses street
# Folders are listed too: theirs is the date that changes when a file goes away.
PACKAGE := $(shell find boxcam -name __pycache__ -prune -o -print)
SOURCES := $(filter-out boxcam boxcam/demo boxcam/demo/%,$(PACKAGE))
# Which Pythons `make dist` tries; by default all that pyproject.toml names, as far as they are here.
PYTHONS ?=

export OMP_NUM_THREADS ?= 2
export UV_NO_PROGRESS ?= 1
export UV_HTTP_TIMEOUT ?= 300
# Trust whom the system trusts, as pip does: behind a proxy with its own certificate uv's own list is not enough.
export UV_SYSTEM_CERTS ?= $(if $(wildcard /etc/ssl/certs/* /etc/pki/tls/certs/*),1,0)

.PHONY: help test fuzz mutants gpu matrix models demo demo-bundle bench truth check dist format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: $(DEV) $(RUNTIME) ## run all tests (ARGS="..." goes to pytest)
	BOXCAM_RUNTIME_PYTHON="$(CURDIR)/.venv-runtime/bin/python" $(PYTEST) $(ARGS)

fuzz: $(DEV) ## feed boxcam with broken files (SECONDS=3600: for an hour; ARGS="--kinds images")
	.venv/bin/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

mutants: $(DEV) $(RUNTIME) .build/mutants/.ready ## list the changes of a file that no test notices (FILE=boxcam/... TESTS=tests/...)
	BOXCAM_RUNTIME_PYTHON="$(CURDIR)/.venv-runtime/bin/python" OMP_NUM_THREADS=1 JOBS=$(JOBS) scripts/mutants $(FILE) $(TESTS)

# What only that needs lies beside .venv.
.build/mutants/.ready: requirements/mutants.txt $(DEV)
	@echo "Fetching what changes the code ..."
	rm -rf .build/mutants
	$(UV) pip install --quiet --no-deps --require-hashes --no-build --python .venv/bin/python \
		--target .build/mutants/site -r requirements/mutants.txt
	@touch $@

gpu: $(DEV) .venv-gpu/.ready ## check --device cuda against the CPU and measure it; needs an NVIDIA GPU (ARGS="--quick")
	.venv/bin/python benchmarks/cuda_bundles.py .build/gpu
	.venv-gpu/bin/python benchmarks/cuda.py boxcam/demo/signs .build/gpu/*.boxcam --json .build/gpu/results.json $(ARGS)

# What explaining on a GPU needs; boxcam itself is taken from this folder.
.venv-gpu/.ready: requirements/gpu.txt $(UV_NEEDED)
	@echo "Making .venv-gpu ..."
	$(UV) venv --quiet --allow-existing --python 3.11 .venv-gpu
	$(SYNC) --python .venv-gpu/bin/python requirements/gpu.txt
	@touch $@

matrix: $(DEV) ## run the heavy half of the matrix of detectors, which make test leaves out
	$(PYTEST) tests/matrix -m heavy $(ARGS)

models: $(DEV) ## run the whole matrix and write docs/models.md (ARGS="-k torchvision": only those figures are new)
	rm -rf .build/matrix
	BOXCAM_MATRIX=.build/matrix $(PYTEST) tests/matrix tests/other_frameworks \
		-m "heavy or not heavy" $(ARGS)
	$(if $(ARGS),,rm -f tests/matrix/results.jsonl)
	.venv/bin/python -m tests.matrix.table .build/matrix

demo: demo/signs.boxcam/manifest.json $(RUNTIME) ## export the demo detector, then explain pictures without torch
	rm -rf demo/sheets
	.venv-runtime/bin/boxcam explain demo/signs.boxcam $(SIGNS)/images -o demo/sheets
	@echo "The sheets of heatmaps are in demo/sheets."

demo/signs.boxcam/manifest.json: $(DEV) $(SOURCES) $(SIGNS)/config.py $(SIGNS)/signs.pth $(DEMO_SAMPLE)
	mkdir -p demo
	.venv/bin/boxcam export $(SIGNS)/config.py $(SIGNS)/signs.pth -o demo/signs.boxcam --overwrite --sample $(DEMO_SAMPLE)

demo-bundle: $(DEV) ## export anew what the command `boxcam demo` shows, into the package
	.venv/bin/boxcam export $(SIGNS)/config.py $(SIGNS)/signs.pth -o boxcam/demo/signs --overwrite --sample $(DEMO_SAMPLE) \
		--engine onnx --layer neck
	cp $(SHOWN:%=$(SIGNS)/images/%.jpg) boxcam/demo/images

bench: $(DEV) $(RUNTIME) .build/bench/.ready ## measure boxcam against other ways (40 minutes), write docs/performance.md
	PYTHONPATH="$(CURDIR)/.build/bench" .venv/bin/python benchmarks/run.py --runtime-python .venv-runtime/bin/python \
		$(if $(ARGS),,--write docs/performance.md) $(ARGS)

# What only the benchmark needs lies beside .venv. grad-cam has no wheel: its build runs, with .venv's own setuptools.
.build/bench/.ready: requirements/bench.txt $(DEV)
	@echo "Fetching what the benchmark compares with ..."
	rm -rf .build/bench
	$(UV) pip install --quiet --no-deps --require-hashes --no-build-isolation --python .venv/bin/python \
		--target .build/bench -r requirements/bench.txt
	@touch $@

# Only a whole run compares with what others made.
truth: $(DEV) $(if $(ARGS),,.build/bench/.ready) ## train detectors with planted cues, ask maps for them (two hours; a minute: ARGS=--reduced)
	PYTHONPATH="$(CURDIR)/.build/bench" .venv/bin/python -m examples.truth.run $(or $(ARGS),--peers)

.PHONY: docs
docs: .venv-docs/.ready ## build the documentation site into .build/site, links checked
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	.venv-docs/bin/python scripts/docs_check.py .build/site
	@echo "The site is in .build/site; open .build/site/index.html."

.venv-docs/.ready: requirements/docs.txt $(UV_NEEDED)
	@echo "Making .venv-docs ..."
	$(UV) venv --quiet --allow-existing --python 3.11 .venv-docs
	$(SYNC) --python .venv-docs/bin/python requirements/docs.txt
	@touch $@

check: $(DEV) ## format, lint, types, and nothing of one machine's in the files
	scripts/check

dist: .venv-dist/.ready ## build wheel and sdist, check them, and use them in empty environments (PYTHONS="3.13": in these)
	UV="$(UV)" scripts/dist $(PYTHONS)

.venv-dist/.ready: requirements/dist.txt $(UV_NEEDED)
	@echo "Making .venv-dist ..."
	$(UV) venv --quiet --allow-existing --python 3.11 .venv-dist
	$(SYNC) --python .venv-dist/bin/python requirements/dist.txt
	@touch $@

format: $(DEV) ## let ruff put the files in order
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

# Everything: the package itself (editable), exporting, and the tools.
$(DEV): pyproject.toml requirements/all.txt requirements/build.txt $(UV_NEEDED)
	@echo "Making .venv ..."
	$(UV) venv --quiet --allow-existing --python 3.11 .venv
	$(SYNC) --python .venv/bin/python requirements/all.txt
	$(INSTALL) --python .venv/bin/python --editable .
	@touch $@

# Only what explaining needs, and the package as users get it: built and installed, not editable.
$(RUNTIME): .venv-runtime/.synced requirements/build.txt $(PACKAGE)
	$(INSTALL) --python .venv-runtime/bin/python --reinstall-package boxcam .
	@touch $@

.venv-runtime/.synced: pyproject.toml requirements/runtime.txt $(UV_NEEDED)
	@echo "Making .venv-runtime ..."
	$(UV) venv --quiet --allow-existing --python 3.11 .venv-runtime
	$(SYNC) --python .venv-runtime/bin/python requirements/runtime.txt
	@touch $@

# --target and not a virtual environment: some systems ship Python and pip without venv.
.build/uv/bin/uv: requirements/uv.txt
	@echo "Fetching uv ..."
	PIP_USER=0 $(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
		--upgrade --target .build/uv -r requirements/uv.txt
	@touch $@

lock: $(UV_NEEDED) ## compile the requirement files anew, with the newest versions that pyproject.toml allows
	$(COMPILE) pyproject.toml --extra mmyolo --extra torchscript --extra dev -o requirements/all.txt
	$(COMPILE) pyproject.toml --extra cpu -c requirements/all.txt -o requirements/runtime.txt
	$(COMPILE) pyproject.toml --extra gpu -c requirements/all.txt -o requirements/gpu.txt
	$(COMPILE) requirements/build.in -c requirements/all.txt -o requirements/build.txt
	$(COMPILE) pyproject.toml --extra cpu --extra onnx -c requirements/all.txt -o requirements/onnx.txt
	$(COMPILE) requirements/dist.in -c requirements/all.txt -o requirements/dist.txt
	$(COMPILE) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) --no-deps requirements/bench.in -o requirements/bench.txt
	$(COMPILE) --no-deps requirements/mutants.in -o requirements/mutants.txt
	$(COMPILE) requirements/docs.in -c requirements/all.txt -o requirements/docs.txt

clean: ## remove the environments and everything made here
	rm -rf .venv .venv-runtime .venv-gpu .venv-dist .venv-docs .build .bench build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
