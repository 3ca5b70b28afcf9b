# The front of the build: `make help`.
SHELL := /bin/bash
PRESET ?= release
BUILD := build/$(PRESET)
JOBS ?= $(shell nproc)
ROW ?=
PREFIX ?= /usr/local

.DEFAULT_GOAL := help
.PHONY: help deps model build install demo test test-slow bench bench-peers result format lint asan tsan fuzz coverage clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

deps: ## Install the packages that skv needs (apt)
	@tools/install_deps

model: deps ## Fetch the default model into models/
	@tools/fetch_model >/dev/null

$(BUILD)/build.ninja: CMakeLists.txt CMakePresets.json cmake/*.cmake | deps
	@cmake --preset $(PRESET) >$(BUILD).cmake.log 2>&1 || { cat $(BUILD).cmake.log; exit 1; }

build: deps ## Build everything (PRESET=release)
	@mkdir -p $(BUILD) && $(MAKE) --no-print-directory $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS)

install: build ## Install the programs and the library (PREFIX=/usr/local)
	@cmake --install $(BUILD) --prefix $(PREFIX)

demo: ## Install, build, fetch the model, start a cluster and ask it about a long document
	@tools/demo

test: ## Install, build and run all tests but the slow ones
	@tools/test

test-slow: build model ## Run the long suites
	@ctest --test-dir $(BUILD) --output-on-failure -L slow --no-tests=error

bench: build ## Run the microbenchmarks
	@find $(BUILD) -name '*_benchmark' -type f -executable | sort | while read -r b; do echo "== $$b"; $$b; done

bench-peers: build model ## Compare with llama.cpp on this machine
	@tools/install_peers && tools/result A.peers

result: build model ## Measure one claim: make result ROW=A.tp [QUICK=1]
	@tools/result $(ROW)

format: ## Format the sources
	@tools/install_deps clang-format
	@git ls-files '*.h' '*.cc' | xargs clang-format -i

lint: ## clang-format and clang-tidy, as errors
	@tools/install_deps clang-format clang-tidy && $(MAKE) --no-print-directory build
	@git ls-files '*.h' '*.cc' | xargs clang-format --dry-run -Werror
	@git ls-files '*.cc' | grep -vE '_fuzzer.cc|_(avx2|avx512.*).cc' | xargs -n 4 -P $(JOBS) clang-tidy -p $(BUILD) --quiet

asan tsan: model ## Build and test under sanitizers
	@tools/install_deps clang lld libclang-rt-14-dev
	@$(MAKE) --no-print-directory build PRESET=$@
	@ctest --preset $@ -LE slow -j $(JOBS)

fuzz: ## Run each fuzzer for FUZZ_SECONDS (default 900)
	@tools/install_deps clang lld libclang-rt-14-dev
	@$(MAKE) --no-print-directory build PRESET=fuzz
	@tools/fuzz $(or $(FUZZ_SECONDS),900)

coverage: model ## Line coverage of the tests
	@tools/install_deps gcovr
	@$(MAKE) --no-print-directory build PRESET=coverage
	@ctest --test-dir build/coverage -LE slow -j $(JOBS)
	@gcovr --root . --exclude build --exclude '.*_test.cc' build/coverage

clean: ## Remove everything that was built
	@rm -rf build
