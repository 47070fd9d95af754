# What people do with this checkout. `make help` lists it; .ci/run holds the checks themselves.
.DEFAULT_GOAL := help
.PHONY: help build test check lint fmt golden sandbox e2e conformance long image clean

golangci := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vpsguard-ci/golangci-lint-v2.15.0/golangci-lint

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/vpsguard, static and stripped
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/vpsguard ./cmd/vpsguard

test: ## Run the Go tests
	go test ./...

check: ## Run all that a change has to pass
	bash .ci/run

lint: ## Run the linters alone
	bash .ci/run lint

fmt: ## Format the Go code as the linters want it
	@test -x "$(golangci)" || { echo "run make lint once: it installs the formatter"; exit 1; }
	$(golangci) fmt

golden: ## Rewrite the golden files from what the code does now; read the diff
	go test $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u) -update
	git diff --stat

sandbox: ## Run all of it on a simulated VPS.org, with no account
	go run ./cmd/vpsguard sandbox

e2e: ## Run the end-to-end suites with real MCP clients
	bash .ci/run e2e

conformance: ## Run the official MCP conformance suite
	bash .ci/run conformance

long: ## Run what takes longer: bad days, random tests, fuzzing, races, other systems, benchmarks
	bash .ci/run long

image: ## Build the container image vpsguard
	docker build --tag vpsguard .

clean: ## Remove what was built
	rm -rf bin .ci/*/node_modules
