# make help lists what there is. Two commands are all a newcomer needs: make demo, make test.
#
# Variables: ORTHO, PROMPTS, GSD (demo); VENV, PYTHON, TORCH_INSTALL_ARGS (environment); JOBS, ARGS (tests)

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
JOBS ?= 2
export VENV PYTHON TORCH_INSTALL_ARGS ORTHO PROMPTS GSD ARGS

py := "$(VENV)/bin/python"
# One thread per worker: the workers already fill the cores
pytest := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(py) -m pytest
parallel := -n $(JOBS) --dist loadfile

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

.PHONY: demo
demo: ## install, make a first map; one's own: make demo ORTHO=my.tif PROMPTS="forest,road" [GSD=0.1]
	@scripts/environment.sh base
	@$(py) scripts/demo.py $${ORTHO:+--ortho "$$ORTHO"} $${PROMPTS:+--prompts "$$PROMPTS"} $${GSD:+--gsd "$$GSD"}

.PHONY: test
test: lint ## install, checks, all tests but those marked slow, hours, gpu
	@$(pytest) $(parallel) -m "not slow and not hours and not gpu" $$ARGS

.PHONY: test-slow
test-slow: environment ## tests marked slow
	@$(pytest) $(parallel) -m "slow and not hours and not gpu" $$ARGS || { code=$$?; test $$code = 5; }

.PHONY: test-gpu
test-gpu: environment ## tests marked gpu
	@$(pytest) -m "gpu and not hours" $$ARGS || { code=$$?; test $$code = 5; }

.PHONY: lint
lint: environment ## ruff, mypy --strict, import-linter
	@$(py) -m ruff check .
	@$(py) -m ruff format --check .
	@$(py) -m mypy --strict
	@"$(VENV)/bin/lint-imports"

.PHONY: format
format: environment ## format and fix what ruff can fix
	@$(py) -m ruff check --fix .
	@$(py) -m ruff format .

.PHONY: environment
environment: ## the environment with everything the checks need
	@scripts/environment.sh dev

.PHONY: lock
lock: environment ## constraints/lock*.txt anew: every dependency with its hashes
	@$(py) -m pip install -q uv
	@PATH="$$(cd "$(VENV)/bin" && pwd):$$PATH" $(py) scripts/lock.py

.PHONY: audit
audit: environment ## known vulnerabilities of what is installed; skips where the service cannot be reached
	@scripts/audit.sh

.PHONY: robustness
robustness: ## docs/robustness.md anew, from the names of the tests
	@$(py) scripts/robustness_index.py

.PHONY: picture
picture: environment ## the README's picture anew, from the demo
	@$(py) scripts/demo.py --small docs/pictures/demo.jpg

.PHONY: bench
bench: environment ## speed and memory, as in benchmarks/RESULTS.md (takes long; one by one: see there)
	@for file in benchmarks/kernels*.py benchmarks/polygons*.py; do \
	    [ ! -f "$$file" ] || { echo "== $$file"; name=$${file%.py}; $(py) -m "$${name//\//.}"; }; done
	@mkdir -p build/bench
	@$(py) -m benchmarks.mosaic --work build/bench --orthos "$${RSOV_SHARED:-../shared}/data/orthos"

.PHONY: clean
clean: ## everything made here, the environment too
	rm -rf "$(VENV)" demo .demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
