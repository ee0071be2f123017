# Each target builds .venv by itself, only as much of it as it needs, and at once when it is there.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test chaos fuzz check bench docs clean

demo: .venv/run.stamp
	$(BIN)/fluxrig demo $(ARGS)

test: .venv/dev.stamp
	$(BIN)/pytest -n 3 --dist worksteal $(ARGS)

# The long version of the fault tests; it prints its seed, and CHAOS_SEED=… repeats it.
chaos: export CHAOS_ROUNDS ?= 10
chaos: export CHAOS_RATE ?= 2500
chaos: export CHAOS_OUTAGE ?= 1000000
chaos: .venv/dev.stamp
	$(BIN)/pytest tests/chaos tests/test_whole_path.py -s --timeout 7200 $(ARGS)

# Minutes of what `make test` does for seconds: hypothesis hurts captures as it likes.
fuzz: export FLUXRIG_FUZZ_EXAMPLES ?= 5000
fuzz: .venv/dev.stamp
	$(BIN)/pytest tests/gears/network_sniffer/test_properties.py -n 3 --timeout 7200 $(ARGS)

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/fluxrig docs --check

bench: .venv/run.stamp
	$(BIN)/fluxrig bench codec $(ARGS)
	$(BIN)/fluxrig bench poll $(ARGS)
	$(BIN)/fluxrig bench neighbour $(ARGS)
	$(BIN)/fluxrig bench snake $(ARGS)

docs: .venv/run.stamp
	$(BIN)/fluxrig docs

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/pip.stamp:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

.venv/run.stamp: .venv/pip.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[all]'
	touch $@

.venv/dev.stamp: .venv/run.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --group dev
	touch $@
