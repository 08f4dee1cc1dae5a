# Every target makes .venv and installs into it on first use. Needs Python with venv, and make.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
RAY := .venv/.ray
# Further options of the demos: DEMO="--voice kathleen", or DEMO="run=runs/other" for demo-train.
DEMO ?=
# What the demo speaks and which recording it takes, such as TEXT="Good morning." RECORDING=my.wav.
TEXT ?=
RECORDING ?=
export TEXT RECORDING

# Processes that share the tests; each takes up to 1 GB.
WORKERS ?= 2

.PHONY: demo demo-train test quick check docs bench bench-check clean

# The shell, not make, puts these in: a text may hold quotes and dollars.
demo: $(INSTALLED)
	$(BIN)/python -m recipes.demo $${TEXT:+--text "$$TEXT"} \
		$${RECORDING:+--recording "$$RECORDING"} $(DEMO)

demo-train: $(INSTALLED)
	$(BIN)/python -m recipes.run_all recipes/configs/demo.yaml $(DEMO)

# Hundreds of processes would compile the same modules anew; git ignores what they keep.
test quick: export PYTHONDONTWRITEBYTECODE :=

test: $(INSTALLED) $(RAY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

quick: $(INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not gpu and not network"

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The documentation as a site, in build/site; of recordings, too, where
# `python -m recipes.release.audio_page` has made their page.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Speed beside other software, as ratios (docs/reports/benchmarks.md): all of it, and what CI compares with
# the committed results.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.run --suite full

bench-check: $(INSTALLED)
	$(BIN)/python -m benchmarks.run --suite small --check

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache

# torch comes first and alone: with it in place nothing later asks for another build of it. The
# last come without their dependencies: torchaudio's wheel does not load beside a CPU build of
# torch, encodec's is CC BY-NC, and of these packages only a model or its weights is used
# (codec/import_shims.py). The very last, whose wheel carries the weights of a recogniser,
# is for a few systems alone: without it a few tests are skipped.
$(INSTALLED): Makefile pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -c constraints.txt -e ".[app,dev,docs,espeak,eval,lhotse,lora,peers,s3,serve,train,whisper]"
	$(BIN)/python -m pip install --no-deps -c constraints.txt vocos bigvgan \
		Resemblyzer distillmos xls-r-sqa
	-$(BIN)/python -m pip install --no-deps -c constraints.txt moonshine-voice
	touch $@

# Another 500 MB that only the tests of recipes/encoding/cluster.py need: two nodes, a killed worker.
$(RAY): $(INSTALLED)
	$(BIN)/python -m pip install -c constraints.txt -e ".[ray]"
	touch $@
