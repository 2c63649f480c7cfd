# Both `make demo` and `make test` make the environment if it is missing; nothing else has to be there but Python 3.11 or later.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# libgomp's threads spin while they wait: with anything else running, the network is 3 to 4 times slower
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help install demo lint types check test data model score bench clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# written last, so that an interrupted installation is taken up again
$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev,bench]"
	touch $@

install: $(VENV)/.installed  ## make the environment

demo: install  ## run geoseg on the sample data
	$(BIN)/geoseg run sample_data/scenes -o out/demo
	@echo
	@echo "Done. Look at out/demo: open a *_classes.tif or *_polygons.gpkg in QGIS; out/demo/areas.csv has the areas."

lint: install  ## ruff: format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install  ## mypy, strict
	$(BIN)/mypy

check: lint types  ## lint and types

test: check  ## lint, types and all tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

data: install  ## remake the sample data
	$(BIN)/python -m sample_data.make

model: install  ## train the shipped U-Net again
	$(BIN)/python -m sample_data.training_places out/places
	$(BIN)/geoseg train sample_data/unet.yaml -o out/landcover-unet
	cp out/landcover-unet/card.yaml out/landcover-unet/weights.safetensors geoseg/models/zoo/landcover-unet/

score: install  ## score the shipped U-Net, and change between its maps, on the sample scenes
	$(BIN)/geoseg run sample_data/scenes -o out/unet -m landcover-unet --probabilities --no-polygons -q
	$(BIN)/geoseg evaluate out/unet sample_data/truth
	$(BIN)/python -m sample_data.score_change out/unet

bench: install  ## measure inference against the alternatives
	$(BIN)/python -m benchmarks.inference

clean:  ## remove what was made, but the environment
	rm -rf out .mypy_cache .ruff_cache .pytest_cache .hypothesis
