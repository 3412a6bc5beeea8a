SHELL := bash
.DEFAULT_GOAL := help

# DATA=path gives the demo your own file; SECTOR_SIZE=2KiB makes it quicker.
DATA ?=
SECTOR_SIZE ?= 8MiB

# A go.work, which make ffi writes, does not go with -modfile.
GO_TOOL := GOWORK=off go tool -modfile=tools/go.mod
STAMP := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/lpseal (Go alone, no cgo)
	CGO_ENABLED=0 go build -trimpath -ldflags "-X github.com/lpseal/lpseal/internal/cli.Version=$(STAMP)" -o bin/lpseal ./cmd/lpseal

demo: build ## seal real data from nothing but a Go toolchain, and unseal it again
	bin/lpseal demo --sector-size $(SECTOR_SIZE) $(if $(DATA),--data "$(DATA)")

test: deps ## run every test (installs redis-server and chromium if they are missing)
	.ci/gotest ./...

race: deps ## the same under the race detector, but for what only starts other programs
	.ci/gotest -race $$(go list ./... | grep -v internal/e2e)

deps: ## install what the tests need: redis-server, chromium
	@.ci/deps

lint: ## formatting, vet, linters, import directions
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go vet -tags crashpoints ./...
	go vet -tags lotusnode ./chain ./chain/handover
	$(GO_TOOL) golangci-lint run ./...

generate: build ## write generated files: docs/reference, default configuration, stage diagram, assembly
	bin/lpseal generate docs
	GOWORK=off go generate ./ffi/native/...

GENERATED := docs configs README.md ffi/native
check-generated: generate ## fail if generated files are not up to date, or were never added
	@never=$$(git ls-files --others --exclude-standard -- $(GENERATED)); \
	git diff --exit-code -- $(GENERATED) && test -z "$$never" || { echo "$$never"; echo "run 'make generate' and commit the result"; exit 1; }

cross: ## build for every supported platform, without cgo
	@for os in linux darwin; do for arch in amd64 arm64; do \
		echo "build $$os/$$arch"; CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -o /dev/null ./cmd/lpseal || exit 1; done; done

bench: build ## measure the pipeline, and write its part of docs/benchmarks.md
	.ci/bench

vuln: ## look for known vulnerabilities; skipped, with the reason, if the database cannot be reached
	.ci/vuln

# Counts and not times: when the time is up, Go's coordinator may call a target that found
# nothing failed (go.dev/issue/75804).
FUZZ_RUNS ?= 1000000x
fuzz: ## fuzz every parser and verifier, FUZZ_RUNS inputs each (make fuzz FUZZ_RUNS=20000x is quick)
	.ci/fuzz $(FUZZ_RUNS)

# --- filecoin-ffi: needs Rust, pkg-config, libhwloc-dev; see docs/how-to/ffi.md ---
# FFI_GPU=cuda or opencl builds for GPUs; FFI_JOBS=2 bounds the compilers.
comma := ,
FFI_BUILD := go build -trimpath -tags filcrypto,nofvm -ldflags "-X github.com/lpseal/lpseal/internal/cli.Version=$(STAMP)"

ffi: ## build filecoin-ffi into the user's cache folder and attach it (go.work)
	GOWORK=off go run ./ffi/build

build-ffi: ffi ## build bin/lpseal with the prover filcrypto
	$(FFI_BUILD) -o bin/lpseal ./cmd/lpseal

params-ffi: build-ffi ## make test parameters for 2 KiB sectors, once (1.1 GB)
	bin/lpseal params generate --sector-size 2KiB --aggregate 1024

test-ffi: params-ffi ## run the tests of the prover filcrypto, with real proofs
	go test -tags filcrypto,nofvm -timeout 60m ./ffi/...
	go test -tags filcrypto,nofvm -run 'Aggregat|TheSRS' ./internal/cli

test-large: ffi ## seal 512 MiB by either prover and compare every file (minutes, 8 GB of disk)
	go test -tags filcrypto,nofvm,large -run TestLarge -v -count 1 -timeout 120m ./ffi/filcrypto

bench-ffi: build-ffi params-ffi ## compare the provers, and write their part of docs/benchmarks.md (SIZES=8MiB,512MiB)
	GOWORK=off go run ./internal/benchpage --ffi bin/lpseal --sizes $(or $(SIZES),8MiB$(comma)512MiB) $(BENCH_FFI_FLAGS)

demo-ffi: params-ffi ## the demo with real Groth16 proofs, verified by the embedded node in pure Go (AGGREGATE=1: joined into one)
	bin/lpseal demo --prover filcrypto --sector-size 2KiB $(if $(AGGREGATE),--aggregate) $(if $(DATA),--data "$(DATA)")
# --- end of filecoin-ffi ---

clean: ## remove what was built
	rm -rf bin

.PHONY: fuzz test-large help build demo test race deps lint generate check-generated cross bench vuln clean ffi build-ffi params-ffi test-ffi demo-ffi bench-ffi
