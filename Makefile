# t2notebook: `make help` lists what there is. Everything is set up in .venv by tools/setup, once.

VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help demo lab labextension test coverage test-slow test-newest test-lowest lock bench lint clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

demo:  ## run examples/quickstart.ipynb on the embedded Mesos and print its job's table and result
	@tools/setup demo
	@$(BIN)/python examples/run_demo.py

lab:  ## open JupyterLab on the examples
	@tools/setup demo dataflow
	@tools/lab

docs:  ## build the documentation into docs/_build/html
	@tools/setup demo docs
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

test:  ## install what the tests need, lint, and run the tests (about 8 minutes on 2 cores)
	@tools/setup test
	@tools/setup-browser
	@tools/setup-debian
	@tools/lint
	@tools/labextension test
	@tools/run-tests "not slow" $(ARGS)

coverage:  ## the tests of `make test` once more, with coverage and its floor (25 minutes on 2 cores)
	@tools/setup test
	@tools/setup-browser
	@tools/setup-debian
	@T2_TEST_COVERAGE=1 tools/run-tests "not slow" $(ARGS)

test-slow:  ## run the slow tests: every Python and install, browser matrix, chaos, scale, examples, documentation
	@tools/setup test docs
	@tools/setup-browser
	@tools/setup-debian
	@tools/run-tests "slow" $(ARGS)

test-newest:  ## the tests of what leans on dependencies, with the newest versions instead of the locked ones
	@tools/setup test
	@tools/setup-browser
	@tools/test-range newest $(ARGS)

test-lowest:  ## the same with the lowest versions that pyproject.toml allows
	@tools/setup test
	@tools/setup-browser
	@tools/test-range lowest $(ARGS)

labextension:  ## build the lab extension anew (needs Node.js; what it gives is committed)
	@tools/setup test
	@tools/labextension build

lock:  ## renew locks/: the versions, with hashes, of all that the commands here install
	@tools/lock $(ARGS)

bench:  ## run the benchmarks
	@tools/setup demo bench dataflow
	@$(BIN)/python -m benchmarks $(ARGS)

dist:  ## build the wheel and the sdist into dist/, and check them for an upload
	@tools/setup test
	@rm -rf dist
	@$(BIN)/python -m build --quiet
	@$(BIN)/python -m twine check --strict dist/*

lint:  ## ruff and mypy
	@tools/setup test
	@tools/lint

clean:  ## remove .venv and what builds and tests leave
	@rm -rf $(VENV) $(VENV)-lock $(VENV)-lowest $(VENV)-newest build dist docs/_build docs/_generated htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis labextension/lib labextension/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
