# make demo    build and install the wheel, run the demonstration
# make test    the quick tests, against the installed wheel
# make test-processors  the quick tests of what is judged, as processors without AVX-512 add
# make slow    the tests that take longer
# make sweep   all of the fault injection, of which `make slow` runs a part
# make mutate  mutation testing of the verdict, the comparison and the geometry
# make lint    ruff and mypy
# make docs    build the documentation as a site and check its links
# make bench   the benchmarks
# make clean   remove what the other targets made
#
# VENV is the virtual environment to make and use, PYTHON the interpreter that makes it, SITE the
# folder of the built site, DEMO_ARGS what `shiftcheck demo` is given, and BENCH_ARGS what
# benchmarks/bench.py is given: `--json benchmarks/results/costs.json --docs` writes the page of the
# costs anew, `--strict` fails where a bound is missed.

PYTHON ?= python3
VENV ?= .venv
SITE ?= docs/_build
DEMO_ARGS ?=
BENCH_ARGS ?=

BIN := $(VENV)/bin
# Two workers with a thread each: more threads than cores only wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2
STAMPS := $(VENV)/stamps
WHEELS := $(VENV)/wheels
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Folders count as sources too: their time tells that a file was removed.
SOURCES := $(shell find src -name __pycache__ -prune -o -print) pyproject.toml README.md LICENSE

.PHONY: demo test test-processors slow sweep mutate lint docs bench clean
.DELETE_ON_ERROR:

demo: $(STAMPS)/demo
	$(BIN)/shiftcheck demo $(DEMO_ARGS)

test: $(STAMPS)/dev
	$(PYTEST) -m "not slow and not sweep"

# Other instructions add in another order, so no test may rest on what rounding leaves. On x86 this
# stands for a processor with AVX2 at most, and for one with SSE 4.1 at most; others ignore it.
JUDGING := tests/controls tests/rules tests/checks/invariance/test_verdicts.py \
    tests/measuring/gaps tests/checks/equivariance

test-processors: $(STAMPS)/dev
	ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST) -m "not slow and not sweep" $(JUDGING)
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 \
	    $(PYTEST) -m "not slow and not sweep" $(JUDGING)

slow: $(STAMPS)/dev
	$(PYTEST) -m slow

sweep: $(STAMPS)/dev
	$(PYTEST) -m sweep

# The tests meet the mutants of the sources here, so the package itself is not installed.
mutate: $(STAMPS)/mutation
	OMP_NUM_THREADS=1 $(VENV)/mutation/bin/mutmut run --max-children 2
	$(VENV)/mutation/bin/mutmut results

lint: $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Everything is read again each time, as the rules and docstrings of the wheel are sources too.
docs: $(STAMPS)/docs
	rm -rf $(SITE)
	$(BIN)/python -m sphinx -W --keep-going -n -q -E -d $(SITE)/.doctrees docs $(SITE)
	$(BIN)/python docs/_ext/check_site.py $(SITE)

bench: $(STAMPS)/bench
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)
	$(BIN)/python benchmarks/plugin.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/property.py

clean:
	rm -rf $(VENV) $(SITE) mutants .mypy_cache .pytest_cache .ruff_cache .hypothesis shiftcheck-demo
	find src tests examples docs -name __pycache__ -prune -exec rm -rf {} +

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS)
	touch $@

$(STAMPS)/tools: $(STAMPS)/venv constraints.txt
	$(PIP) build hatchling
	touch $@

$(STAMPS)/wheel: $(STAMPS)/tools $(SOURCES)
	rm -rf $(WHEELS)
	$(BIN)/python -m build --wheel --no-isolation --outdir $(WHEELS) . > $(STAMPS)/build.log \
	    || { cat $(STAMPS)/build.log; exit 1; }
	touch $@

$(STAMPS)/mutation: $(STAMPS)/wheel
	$(PYTHON) -m venv $(VENV)/mutation
	$(VENV)/mutation/bin/pip install --quiet --disable-pip-version-check -c constraints.txt \
	    "$$(echo $(WHEELS)/*.whl)[dev,demo,mutation]"
	$(VENV)/mutation/bin/pip uninstall --quiet --yes torch-shiftcheck
	touch $@

EXTRAS_dev := dev,zoo,others,browser,plot,demo
EXTRAS_docs := docs,hypothesis,plot
EXTRAS_bench := $(EXTRAS_dev),bench

# The dependencies of an extra, or of several, then the wheel itself even where its version is installed already.
$(STAMPS)/demo $(STAMPS)/dev $(STAMPS)/docs $(STAMPS)/bench: $(STAMPS)/%: $(STAMPS)/wheel
	$(PIP) "$$(echo $(WHEELS)/*.whl)[$(or $(EXTRAS_$*),$*)]"
	$(PIP) --force-reinstall --no-deps $(WHEELS)/*.whl
	touch $@
