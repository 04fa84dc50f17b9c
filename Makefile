# make demo    build and install the wheel, run the demonstration
# make test    the quick tests, against the installed wheel
# make test-processors  the quick tests of what is judged, as processors without AVX-512 add
# make slow    the tests that take longer
# make sweep   all of the fault injection, of which `make slow` runs a part
# make compat  the quick tests with another torch: TORCH=2.6.0; NUMPY=1.26.4 where wanted, and
#              PYTHON; LOWEST=1 for all packages at their lower bounds
# make mutate  mutation testing of the verdict, the comparison and the geometry
# make lint    ruff and mypy
# make docs    build the documentation as a site, check its links, look at it in a browser
# make schemas  write the JSON schemas of reports whose fields have changed
# make bench   the benchmarks
# make dist    what a release holds, in DIST, looked at as the package index will
# make clean   remove what the other targets made
#
# VENV is the virtual environment to make and use, PYTHON the interpreter that makes it, SITE the
# folder of the built site, DEMO_ARGS what `shiftcheck demo` is given, and BENCH_ARGS what
# benchmarks/bench.py is given: `--json benchmarks/results/costs.json --docs` writes the page of the
# costs anew, `--strict` fails where a bound is missed. SCHEMAS_ARGS=--freeze notes the schemas as
# released.

PYTHON ?= python3
VENV ?= .venv
SITE ?= docs/_build
DEMO_ARGS ?=
BENCH_ARGS ?=
DIST ?= dist
SCHEMAS_ARGS ?=

BIN := $(VENV)/bin
# Two workers with a thread each: more threads than cores only wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2
STAMPS := $(VENV)/stamps
WHEELS := $(VENV)/wheels
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Folders count as sources too: their time tells that a file was removed.
SOURCES := $(shell find src -name __pycache__ -prune -o -print) pyproject.toml README.md LICENSE

.PHONY: demo test test-processors compat slow sweep mutate lint docs schemas bench dist clean
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
	ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
	    $(PYTEST) -m "not slow and not sweep" $(JUDGING)
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 \
	    $(PYTEST) -m "not slow and not sweep" $(JUDGING)

# Stays out of .ci/run: a torch for other devices than the CPU takes gigabytes. An environment has
# torch first, and then what suits it; it stays until `make clean`. A run that broke off, rather
# than one whose tests failed, is not recorded.
TORCH ?= $(if $(LOWEST),2.6.0,2.14.1)
NUMPY ?=
LOWEST ?=
COMPAT ?= $(VENV)-compat-$(TORCH)$(NUMPY:%=-numpy-%)$(LOWEST:%=-lowest)-$(notdir $(PYTHON))
PACKAGES := $(if $(LOWEST),lowest,pinned)
EXTRAS_compat := $(if $(LOWEST),$(shell $(PYTHON) benchmarks/versions.py extras),\
    dev,zoo,metrics,browser,plot,demo,hypothesis,html,image,pytest)
PIP_COMPAT := $(COMPAT)/bin/python -m pip install --quiet --disable-pip-version-check

compat: $(STAMPS)/wheel $(COMPAT)/stamp
	$(COMPAT)/bin/python benchmarks/versions.py constraints --packages $(PACKAGES) \
	    > $(COMPAT)/constraints.txt
	$(PIP_COMPAT) -c $(COMPAT)/constraints.txt "$$(echo $(WHEELS)/*.whl)[$(strip $(EXTRAS_compat))]"
	$(PIP_COMPAT) --force-reinstall --no-deps $(WHEELS)/*.whl
	$(if $(LOWEST),PYTHONWARNINGS=error OMP_NUM_THREADS=1 $(COMPAT)/bin/shiftcheck demo --out $(COMPAT)/demo)
	rm -f $(COMPAT)/tests.xml
	OMP_NUM_THREADS=1 $(COMPAT)/bin/pytest -n 2 -q -m "not slow and not sweep" \
	    --junitxml=$(COMPAT)/tests.xml || test $$? -eq 1
	$(COMPAT)/bin/python benchmarks/versions.py record $(COMPAT)/tests.xml --packages $(PACKAGES)

$(COMPAT)/stamp:
	$(PYTHON) -m venv $(COMPAT)
	$(if $(LOWEST),,$(PIP_COMPAT) torch==$(TORCH) $(if $(NUMPY),numpy==$(NUMPY)))
	touch $@

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
	$(BIN)/python docs/_ext/browse_site.py $(SITE)

schemas: $(STAMPS)/demo
	$(BIN)/python docs/_ext/schemas.py $(SCHEMAS_ARGS)

bench: $(STAMPS)/bench
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)
	$(BIN)/python benchmarks/plugin.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/property.py

# The wheel is built from the source distribution, so that both hold the same.
dist: $(STAMPS)/tools
	$(PIP) twine
	rm -rf $(DIST)
	$(BIN)/python -m build --no-isolation --outdir $(DIST) .
	$(BIN)/python -m twine check --strict $(DIST)/*

clean:
	rm -rf $(VENV) $(VENV)-compat-* $(SITE) $(DIST) mutants .mypy_cache .pytest_cache .ruff_cache .hypothesis shiftcheck-demo
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

EXTRAS_dev := dev,zoo,others,tiles,metrics,browser,plot,demo
EXTRAS_docs := docs,demo,hypothesis,plot,metrics
EXTRAS_bench := $(EXTRAS_dev),bench

# The dependencies of an extra, or of several, then the wheel itself even where its version is installed already.
$(STAMPS)/demo $(STAMPS)/dev $(STAMPS)/docs $(STAMPS)/bench: $(STAMPS)/%: $(STAMPS)/wheel
	$(PIP) "$$(echo $(WHEELS)/*.whl)[$(or $(EXTRAS_$*),$*)]"
	$(PIP) --force-reinstall --no-deps $(WHEELS)/*.whl
	touch $@
