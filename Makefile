# Everything is built and installed under build/; nothing else on the machine is
# changed. Needed beforehand: Go, Python 3.10 or newer with venv, make, bash.
BUILD   := $(CURDIR)/build
BIN     := $(BUILD)/bin/trajlake
VENV    := $(BUILD)/venv
PY      := $(VENV)/bin/python
TORCH   := $(BUILD)/torch
VGW     := $(BUILD)/tools/versitygw-v1.8.0
MINIO   := $(BUILD)/tools/minio-20260212
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS := -X main.commit=$(COMMIT)
export CGO_ENABLED ?= 0

.PHONY: build demo test test-go test-race test-law test-python test-engines test-torch interop bench generate clean help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

build: ## build/bin/trajlake
	@mkdir -p $(BUILD)/bin
	go build -ldflags "$(LDFLAGS)" -o $(BIN) ./cmd/trajlake

$(VENV)/ok: python/pyproject.toml internal/interop/requirements.txt
	python3 -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check -r internal/interop/requirements.txt
	$(PY) -m pip install -q --disable-pip-version-check -e ./python
	@touch $@

$(VENV)/demo-ok: python/pyproject.toml
	test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check -e ./python
	@touch $@

$(TORCH)/ok: python/pyproject.toml internal/interop/requirements-torch.txt internal/interop/cputorch.py
	python3 -m venv $(TORCH)
	$(TORCH)/bin/python -m pip install -q --disable-pip-version-check --no-deps -r internal/interop/requirements-torch.txt
	$(TORCH)/bin/python -m pip install -q --disable-pip-version-check -e ./python
	$(TORCH)/bin/python internal/interop/cputorch.py
	@touch $@

$(VGW):
	@mkdir -p $(BUILD)/tools
	cd internal/testservers/versitygw && go build -trimpath -ldflags "-s -w" -o $@ github.com/versity/versitygw/cmd/versitygw

$(MINIO):
	@mkdir -p $(BUILD)/tools
	cd internal/testservers/minio && go build -trimpath -ldflags "-s -w" -o $@ github.com/minio/minio

demo: build $(VENV)/demo-ok ## a lake in build/demo: ingest, stream batches to a trainer, ask a question. DATA=PATH takes your files
	BIN=$(BIN) PY=$(PY) DIR=$(BUILD)/demo DATA="$(DATA)" scripts/demo

test: test-go test-law test-race test-python test-engines ## everything that a change must keep (Go, S3, Python, other engines)

test-go: $(VGW) $(VENV)/ok
	go vet ./...
	TRAJLAKE_TEST_PYTHON=$(PY) scripts/with-s3 versitygw go test -count=1 -timeout 600s ./...

test-law:
	GOAMD64=v1 go test -count=1 ./replay/law
	if grep -qw avx2 /proc/cpuinfo 2>/dev/null; then GOAMD64=v3 go test -count=1 ./replay/law; else echo 'NOT RUN: GOAMD64=v3 needs a processor with AVX2'; fi

test-race:
	CGO_ENABLED=1 go test -race -short -count=1 -timeout 600s ./ingest ./store ./rpc ./replay/pack
	CGO_ENABLED=1 go test -race -short -count=1 -timeout 600s -run 'Concurrent|AtOnce|Readers|Faults|FaultyStore|Clients|Competing|Close|LiveStream|Cancelled' ./replay ./replay/facts

test-python: build $(VENV)/ok
	TRAJLAKE_BIN=$(BIN) $(PY) -m pytest -q python/tests

test-engines: build $(VENV)/ok $(VGW)
	TRAJLAKE_BIN=$(BIN) scripts/with-s3 versitygw $(PY) -m pytest -q internal/interop

test-torch: build $(TORCH)/ok ## the PyTorch side (downloads 540 MB)
	TRAJLAKE_BIN=$(BIN) $(TORCH)/bin/python -m pytest -q -rs python/tests/test_torch.py python/tests/test_examples.py python/tests/test_guide.py

interop: build $(VENV)/ok $(MINIO) test-torch ## the heavy part: MinIO, PyTorch, the black-box checks where they are
	scripts/with-s3 minio go test -count=1 -timeout 600s ./store/...
	TRAJLAKE_BIN=$(BIN) scripts/with-s3 minio $(PY) -m pytest -q internal/interop
	if [ -x ../shared/checks/run ]; then ../shared/checks/run 1 2; else echo 'NOT RUN: there are no black-box checks beside this checkout'; fi

bench: build ## figures beside the peers', where those are installed
	scripts/bench

generate: ## code made from other files: protobuf
	scripts/generate

clean: ## removes build/
	rm -rf $(BUILD)
