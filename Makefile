# Two commands are all that anybody needs: `make demo` and `make test`. Both set up what they need and can be run again.

PYTHON ?= python3
PORT ?= 8888
ARGS ?=

BIN := .venv/bin
PAGE := epochwidget/static/widget.js
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# JupyterLab refuses to run as root, as people are in containers, unless told.
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help demo frameworks test build lint bench pictures clean
help:
	@echo "make demo        open JupyterLab on the quickstart notebook; PORT=8899, ARGS=--no-browser"
	@echo "make frameworks  install what the notebooks of all frameworks need, some 4 GB in all"
	@echo "make test        run every test: Python, page, notebooks, browser"
	@echo "make build       build the page"
	@echo "make lint        check style and types, without tests"
	@echo "make bench       measure what watching costs, beside others, into benchmarks/RESULTS.md"
	@echo "make pictures    make the README's pictures anew"
	@echo "make clean       remove everything that was set up or built"

demo: .venv/.demo $(PAGE)
	$(BIN)/jupyter lab --port=$(PORT) --LabApp.default_url=/lab/tree/notebooks/quickstart.ipynb $(ROOT) $(ARGS)

frameworks: .venv/.frameworks

build: $(PAGE)

lint: .venv/.test $(PAGE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	npm --prefix js run --silent check

test: lint
	sh tests/e2e/chromium.sh
	npm --prefix js run --silent test
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest --nbval-lax notebooks

bench: .bench/.peers $(PAGE)
	sh tests/e2e/chromium.sh
	.bench/bin/python benchmarks/results.py

pictures: .venv/.test $(PAGE)
	sh tests/e2e/chromium.sh
	$(BIN)/python docs/pictures.py

clean:
	rm -rf .venv .bench dist js/node_modules epochwidget/static

$(PAGE): js/node_modules/.package-lock.json js/package.json js/build.mjs $(shell find js/src -type f)
	npm --prefix js run --silent build

js/node_modules/.package-lock.json: js/package-lock.json
	@node -e 'process.exit(Number(process.versions.node.split(".")[0] < 20))' || \
		{ echo "epochwidget needs Node 20 or newer to build its page: https://nodejs.org"; exit 1; }
	npm --prefix js ci --no-audit --no-fund --loglevel=error
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "epochwidget needs Python 3.11 or newer; name it by: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv

# The package is installed in place, so a page that was built anew needs no new installation.
.venv/.demo: .venv/bin/python pyproject.toml constraints.txt | $(PAGE)
	$(PIP) --editable '.[demo]'
	@touch $@

# Both at once, so that pip solves it as a whole; fastai apart, without the torchvision that it asks for.
.venv/.frameworks: .venv/.demo
	$(PIP) --editable '.[demo,frameworks]'
	$(PIP) --no-deps fastai
	@touch $@

.venv/.test: .venv/.frameworks
	$(PIP) --editable '.[demo,frameworks,test]'
	@touch $@

# What it is compared with has an environment of its own.
.bench/.peers: pyproject.toml constraints.txt | $(PAGE)
	$(PYTHON) -m venv .bench
	.bench/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt \
		--editable '.[demo,frameworks,bench]'
	.bench/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --no-deps fastai
	@touch $@
