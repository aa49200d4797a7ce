# The everyday commands; the build itself is CMake's (see CMakePresets.json).
# SPDX-License-Identifier: MIT OR Apache-2.0
PYTHON  ?= /usr/bin/python3
JOBS    ?= $(shell nproc)
PREFIX  ?= /usr/local
SEED    ?= 1
SEEDS   ?= 1000
SECONDS ?= 60
PORT    ?= 1883

.DEFAULT_GOAL := help
.PHONY: help run test build setup check format docs fuzz tsan sim bench install clean

help: ## this list
	@echo "make run      set up, build, start a broker on 127.0.0.1:1883 (PORT=...)"
	@echo "make test     set up, build, every test (ONLY='name ...' for some, see LIST=1)"
	@echo "make build    the release program: build/release/mqttv5"
	@echo "make check    style, layers and requirements only: seconds"
	@echo "make format   lay out all C files with clang-format"
	@echo "make docs     what docs/, man pages and completions take from the source, again"
	@echo "make sim      simulator, SEED=$(SEED) SEEDS=$(SEEDS)"
	@echo "make fuzz     every fuzz target for SECONDS=$(SECONDS) (ONLY='fuzz_...' for some)"
	@echo "make tsan     the multi-worker tests under the thread sanitizer"
	@echo "make bench    cost of a delivered message, beside the floor"
	@echo "make install  to PREFIX=$(PREFIX) (DESTDIR is honoured)"
	@echo "make clean    remove build/"

build:
	@tools/setup.sh run
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS) --target mqttv5

run: build
	@PORT=$(PORT) tools/run.sh

setup:
	@tools/setup.sh test

test: setup
	@$(PYTHON) tools/run_tests.py $(if $(LIST),--list) $(if $(JOBS),--jobs $(JOBS)) $(ONLY)

check: setup
	@$(PYTHON) tools/run_tests.py --jobs $(JOBS) tidy layers format requirements tools

format: setup
	@$(PYTHON) tools/check_format.py --fix

docs: build
	@$(PYTHON) tools/check_docs.py --fix

fuzz: setup
	@$(PYTHON) tools/run_tests.py --jobs $(JOBS) --fuzz-seconds $(SECONDS) \
	    $(if $(ONLY),$(ONLY),'fuzz_*')

tsan: setup
	@$(PYTHON) tools/run_tests.py --jobs $(JOBS) tsan

sim: setup
	@cmake --preset release -DMQTT5_TESTS=ON >/dev/null
	@cmake --build --preset release -j $(JOBS) --target mqtt5_sim
	@build/release/mqtt5_sim --seed $(SEED) --seeds $(SEEDS)

bench: build
	@tools/bench.sh

install: build
	@cmake --build --preset release -j $(JOBS)
	@cmake --install build/release --prefix $(PREFIX)

clean:
	rm -rf build
