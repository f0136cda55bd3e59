# Every target needs nothing but Python (3.11 or newer) and make, and sets up what it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: venv test test-fast check types format docs demo wheel-test test-lowest test-old-runtimes

venv: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@# insightface asks for opencv-python, albumentations for its headless twin: keep the one that needs no screen.
	$(BIN)/python -m pip uninstall --quiet --yes opencv-python opencv-python-headless
	$(BIN)/python -m pip install --quiet --no-deps opencv-python-headless
	touch $(STAMP)

# A file's tests stay in one process, for which its networks and runs are made once.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile

test-fast: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --no-print-directory -o $(STAMP) types

types: $(STAMP)
	@# backbones/ and eval/ are mapped into the package when it is installed; mypy needs to see them there as well.
	rm -rf .typecheck && mkdir -p .typecheck/facexfer
	ln -s $(CURDIR)/facexfer/* $(CURDIR)/backbones $(CURDIR)/eval .typecheck/facexfer/
	MYPYPATH=.typecheck $(BIN)/mypy -p facexfer
	MYPYPATH=.typecheck:tools:tools/docs $(BIN)/mypy --explicit-package-bases tools
	@# Tests import what stands in tests/ and its programs by bare names; each needs one name only, hence the link.
	@# -n: beside another run the link is there already; without it, a link tests/tests would come about.
	ln -sfn $(CURDIR)/tests .typecheck/bare
	MYPYPATH=.typecheck:.typecheck/bare:.typecheck/bare/offline:.typecheck/bare/programs:tools \
		$(BIN)/mypy --explicit-package-bases tests/conftest.py tests/test_*.py $(filter-out %/__pycache__/,$(wildcard tests/*/))
	@# As a user's type checker sees the public names.
	cd examples && MYPYPATH=../.typecheck ../$(BIN)/mypy --config-file ../pyproject.toml *.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site, in site/: a warning fails. Nothing is fetched while it is built or read.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

demo: $(STAMP)
	$(BIN)/facexfer demo

# The wheel with its dependencies in an environment that has nothing else.
wheel-test:
	@# What an earlier build has left would come into the wheel.
	rm -rf build .wheel-test && $(PYTHON) -m venv .wheel-test
	.wheel-test/bin/python -m pip install --quiet .
	cd .wheel-test && bin/facexfer demo --help > /dev/null && bin/facexfer train --list
	cd .wheel-test && bin/python -c "import facexfer.backbones, facexfer.eval; print(facexfer.__file__)"

# The fast tests with the lowest versions that pyproject.toml allows.
test-lowest:
	rm -rf .lowest && $(PYTHON) -m venv .lowest
	$(PYTHON) tools/lowest_versions.py > .lowest/constraints.txt
	.lowest/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.lowest/bin/python -m pip install --quiet --editable . --group dev --constraint .lowest/constraints.txt
	.lowest/bin/python -m pip uninstall --quiet --yes opencv-python opencv-python-headless
	.lowest/bin/python -m pip install --quiet --no-deps opencv-python-headless --constraint .lowest/constraints.txt
	.lowest/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

# Exported files in libraries that are older than those that facexfer needs.
test-old-runtimes: venv
	$(BIN)/python tools/old_runtimes.py --out .old-runtimes
