# Everything runs in .venv; `make test` on a fresh machine installs what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

CXR := OMP_NUM_THREADS=2 $(BIN)/cxr-explain

# One torch thread for each worker: the workers share the cores.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4

# Compiled modules are kept, whatever the environment says: else every process that a test starts compiles the package.
unexport PYTHONDONTWRITEBYTECODE

DEMO := demo
DEMO_N := 6
DEMO_SEED := 39
DEMO_WEIGHTS := phantom

.PHONY: install demo audit study test test-long test-slow viewer coverage notebooks docs linkcheck wheel lint check format figure bench bench-quick clean

install: $(STAMP)

# torch first, at its pinned version: the CPU build, before anything else could ask for another one.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable '.[dev,bench]'
	touch $@

# Phantoms, which are nobody's chest, and the model that comes with the package: nothing is downloaded.
demo: install
	@rm -rf $(DEMO)/phantoms $(DEMO)/explained
	@echo "Computing $(DEMO_N) chest phantoms with known findings ..."
	@$(CXR) phantom --n $(DEMO_N) --bits 16 --size 512 --seed $(DEMO_SEED) --out $(DEMO)/phantoms
	@echo "Explaining them with the bundled phantom model ..."
	@$(CXR) explain $(DEMO)/phantoms/dicom $$(ls $(DEMO)/phantoms/images/*.png | head -n 2) \
	  --weights $(DEMO_WEIGHTS) --offline --out $(DEMO)/explained --page \
	  --labels $(DEMO)/phantoms/Data_Entry_2017_v2020.csv --boxes $(DEMO)/phantoms/BBox_List_2017.csv

# From a data set's tables to a report, on phantoms: what their statistics say has no meaning for radiographs.
audit: install
	@rm -rf $(DEMO)/audit
	@$(CXR) phantom --n 24 --size 256 --seed $(DEMO_SEED) --out $(DEMO)/audit/phantoms
	@$(CXR) manifest nih --source $(DEMO)/audit/phantoms --out $(DEMO)/audit/manifest.csv
	@$(CXR) audit $(DEMO)/audit/manifest.csv --images $(DEMO)/audit/phantoms/images --weights $(DEMO_WEIGHTS) \
	  --offline --out $(DEMO)/audit/run
	@$(CXR) report $(DEMO)/audit/run

# Every rule, alone and fused, on a few phantoms: that it runs, not what it says; docs/study.md has that.
study: install
	@rm -rf $(DEMO)/study
	@OMP_NUM_THREADS=1 $(BIN)/cxr-explain evaluate --study --quick --jobs 2 $(STUDY) --out $(DEMO)/study

test: install
	$(TESTS) --durations 15

# Those that take seconds each: whole commands in odd surroundings, Ray, networks of their published size.
test-long: install
	$(TESTS) -m long

test-slow: install
	$(BIN)/python -m pytest -m slow

# The DICOM objects in the OHIF viewer, whose built site CXR_EXPLAIN_OHIF names; docs/how_to/pacs.md says where it comes from.
viewer: install
	$(BIN)/python -m pytest -m ohif tests/dicom/viewer

# The tests of `make test`, slower, with the lines that none of them runs; fails below the floor in pyproject.toml.
coverage: install
	$(TESTS) --cov --cov-report term-missing:skip-covered

# Every notebook in an empty folder; fails where one prints something else than it stores.
notebooks: install
	$(TESTS) -m notebooks tests/notebooks

# Strictly: a warning, a dead link or a request to elsewhere fails.
docs: install
	$(BIN)/python -m sphinx -q -W --keep-going -n -b html docs docs/_build/html
	CXR_EXPLAIN_SITE=docs/_build/html $(BIN)/python -m pytest -q -m slow tests/docs/test_site.py
	@echo "The site: docs/_build/html/index.html"

# Every job by the files of the wheel alone, in an empty folder, without the extras and then with them.
wheel: install
	.ci/wheel

linkcheck: install
	$(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/linkcheck

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test

figure: install
	$(BIN)/python notebooks/make_figure.py
	$(BIN)/python docs/pictures/draw.py

# Everything that benchmarks/README.md has: about two hours on two quiet cores. What it leaves in the
# folder, `python -m benchmarks.cost_page` puts into docs/explanation/engines.md.
bench: install
	@mkdir -p $(DEMO)/bench
	$(BIN)/python -m benchmarks.explain_cost --json $(DEMO)/bench/cost.json
	$(if $(CXR_EXPLAIN_REAL_DATA),$(BIN)/python -m benchmarks.engine_agreement $(CXR_EXPLAIN_REAL_DATA) | tee $(DEMO)/bench/agreement.md)
	$(BIN)/python -m benchmarks.rules_cost
	$(BIN)/python -m benchmarks.attention_cost
	$(BIN)/python -m benchmarks.figure_cost
	$(BIN)/python -m benchmarks.command_cost
	$(BIN)/python -m benchmarks.audit_cost
	$(BIN)/python -m benchmarks.audit_memory
	$(BIN)/python -m benchmarks.audit_ray
	$(BIN)/python -m benchmarks.audit_tables
	$(BIN)/python -m benchmarks.regions_accuracy
	$(BIN)/python -m benchmarks.colour_distances

# That each of the timed ones runs, in a few minutes; what they print is no measurement.
bench-quick: install
	$(BIN)/python -m benchmarks.explain_cost --quick --batch 1
	$(BIN)/python -m benchmarks.rules_cost --quick
	$(BIN)/python -m benchmarks.figure_cost --quick
	$(BIN)/python -m benchmarks.command_cost --rounds 1
	$(BIN)/python -m benchmarks.audit_cost --images 16 --rounds 1

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage
