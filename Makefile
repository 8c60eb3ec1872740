# The commands of the repository. Each needs Go, a POSIX shell and GNU make; "make test" also PostgreSQL's programs, which
# it installs as root on Debian. Several modules make up the repository: the scripts walk those of go.work.

export GOWORK := $(CURDIR)/go.work

# For torture: how many messages, and how many faults.
N      ?= 20000
FAULTS ?= 15
# For fuzz: how long each target runs.
FUZZTIME ?= 20s
# For bench: the one case to run; all of them if empty.
CASE ?=
# Further arguments for demo, demo-nats, bench and torture, such as ARGS="--format json".
ARGS ?=

.PHONY: help
help: ## say what there is
	@echo "make TARGET [NAME=VALUE...], where TARGET is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: ## orders through an outbox on SQLite while the relay is killed, with a report
	@cd examples/demo && go run . $(ARGS)

.PHONY: demo-nats
demo-nats: ## the same over an embedded NATS server
	@cd examples/demo-nats && go run . $(ARGS)

.PHONY: test
test: ## every test of every module, with the race detector, on real servers
	@scripts/test

.PHONY: test-short
test-short: ## for while you work: without the long tests, the race detector, and servers other than PostgreSQL and NATS
	@scripts/test -short

.PHONY: bench
bench: ## the benchmarks; CASE=name runs one
	@cd benchmarks && go run . $(if $(CASE),-case '$(CASE)') $(ARGS)

.PHONY: torture
torture: ## the torture program; N=messages FAULTS=number
	@cd itest && go run ./torture -n $(N) -faults $(FAULTS) $(ARGS)

.PHONY: lint
lint: ## gofmt, vet (also for Windows and macOS), staticcheck, go mod tidy, replace lines
	@scripts/lint

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME=20s
	@FUZZTIME='$(FUZZTIME)' scripts/modules fuzz "$(CURDIR)/scripts/fuzz"

.PHONY: replace
replace: ## write the replace lines of the nested modules
	@scripts/replace
