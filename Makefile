# `make` or `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

BIN := .venv/bin
export PYTHON
# Where Python may not keep its bytecode, each start of a trainer compiles torch anew for ten seconds.
unexport PYTHONDONTWRITEBYTECODE

##@ Use it

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: ## set up .venv; the commands are then .venv/bin/tunesmith-server and .venv/bin/tunesmith
	@scripts/install.sh runtime

.PHONY: demo
demo: install ## fine-tune a small model on order mails, through the whole service
	@$(BIN)/python -m examples.order_mails.demo

##@ Work on it

.PHONY: install-dev
install-dev: ## set up .venv with the developers' tools as well
	@scripts/install.sh dev

.PHONY: check
check: check-format check-lint check-types check-rooms check-sdk check-contracts check-deployment ## all of the static checks

.PHONY: check-format
check-format: install-dev
	$(BIN)/ruff format --check .

.PHONY: check-lint
check-lint: install-dev
	$(BIN)/ruff check .

.PHONY: check-types
check-types: install-dev
	$(BIN)/mypy app benchmarks tests examples scripts sdk/tunesmith
	cd sdk && ../$(BIN)/mypy --config-file ../pyproject.toml tests

.PHONY: check-rooms
check-rooms: install-dev
	$(BIN)/lint-imports

.PHONY: check-sdk
check-sdk: install-dev
	$(BIN)/python scripts/unasync.py --check
	$(BIN)/python -m scripts.hyperparameters --check

.PHONY: check-contracts
check-contracts: install-dev
	$(BIN)/python -m scripts.asyncapi --check
	$(BIN)/python -m scripts.openapi --check
	$(BIN)/python -m scripts.docs --check

.PHONY: check-deployment
check-deployment: install-dev
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint Dockerfile

.PHONY: format
format: install-dev ## format, and fix what can be fixed without thought
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: test
test: install-dev ## the whole test suite, real broker and database included (ARGS=… for pytest)
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile $(ARGS)

.PHONY: test-fast
test-fast: install-dev ## the tests that start no server (ARGS=… for pytest)
	$(BIN)/python -m pytest tests/unit sdk/tests $(ARGS)

.PHONY: test-faults
test-faults: install-dev ## every fault in all of its rounds, and 50,000 simulations (an hour; ARGS=… for pytest)
	FAULTS=every $(BIN)/python -m pytest tests/faults tests/simulation tests/integration/api/test_rebuild.py \
		tests/integration/examples tests/integration/trainer_worker tests/integration/training/test_resume.py $(ARGS)

.PHONY: test-cluster
test-cluster: install-dev ## three brokers, killed one by one and two by two, in all rounds (7 minutes)
	FAULTS=every $(BIN)/python -m pytest tests/cluster $(ARGS)

.PHONY: test-trackers
test-trackers: install-dev ## trainings beside TensorBoard, MLflow and W&B, installed in build/trackers (3 minutes)
	$(BIN)/uv pip install -q --python $(BIN)/python --target build/trackers "mlflow-skinny>=3" "wandb>=0.22"
	PYTHONPATH=build/trackers FAULTS=every $(BIN)/python -m pytest tests/integration/training/test_trackers.py $(ARGS)

.PHONY: test-fuzz
test-fuzz: install-dev ## the whole OpenAPI document tried out by schemathesis, thousands of requests (10 minutes; ARGS=…)
	$(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: contracts
contracts: install-dev ## write infra/kafka/asyncapi.yaml, infra/openapi.yaml and the golden bytes of what is new
	$(BIN)/python -m scripts.asyncapi
	$(BIN)/python -m scripts.openapi
	$(BIN)/python -m tests.contract.golden

.PHONY: docs
docs: install-dev ## write docs/reference/ from the code: routes, SDK, commands, settings, hyperparameters, errors
	$(BIN)/python -m scripts.docs

.PHONY: bench
bench: install-dev bench-install ## the figures that are promised, as ratios within one run (30 minutes)
	$(BIN)/python -m benchmarks.submissions
	$(BIN)/python -m benchmarks.create_latency
	$(BIN)/python -m benchmarks.command_handler
	$(BIN)/python -m benchmarks.projector
	$(BIN)/python -m benchmarks.replay
	$(BIN)/python -m benchmarks.takeover
	$(BIN)/python -m benchmarks.list_latency
	$(BIN)/python -m benchmarks.reads
	$(BIN)/python -m benchmarks.streams
	$(BIN)/python -m benchmarks.sdk_overhead
	$(BIN)/python -m benchmarks.check_rate
	$(BIN)/python -m benchmarks.planner
	$(BIN)/python -m benchmarks.planner_simulation
	$(BIN)/python -m benchmarks.training_overhead
	$(BIN)/python -m benchmarks.checkpoint_cost
	$(BIN)/python -m benchmarks.first_step
	$(BIN)/python -m benchmarks.memory

.PHONY: bench-gpu
bench-gpu: install-dev ## training of 1B and 8B shapes on a GPU, beside a bare loop; skipped where there is none
	$(BIN)/python -m benchmarks.gpu.training

.PHONY: bench-install
bench-install: install-dev ## set up build/bench-venv with the stack that the benchmarks compare with
	@scripts/install_bench.sh

.PHONY: requirements
requirements: install-dev ## resolve requirements/*.txt anew (UPGRADE=--upgrade for the newest versions)
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes $(UPGRADE) \
		requirements/uv.in -o requirements/uv.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes $(UPGRADE) \
		pyproject.toml sdk/pyproject.toml --extra cli --group build -o requirements/runtime.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes $(UPGRADE) \
		pyproject.toml sdk/pyproject.toml --extra cli --group build --group dev -c requirements/runtime.txt \
		-o requirements/dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes $(UPGRADE) \
		--group bench -o requirements/bench.txt

.PHONY: jars-lock
jars-lock: install-dev ## resolve the Kafka broker's jars anew into infra/kafka/jars.lock.toml
	$(BIN)/python scripts/lock_jars.py

.PHONY: clean
clean: ## remove .venv and what tools left; the data folder .tunesmith stays
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
