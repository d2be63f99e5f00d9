# `make help` lists the targets. What needs more than one command is in scripts/.

# Passed to every test run: `checks` turns on the assertions that production does without (who may touch a loop's memory, ...).
TAGS := checks
# Per fuzz target; `make fuzz FUZZTIME=10m` for a long run.
FUZZTIME ?= 3s
# How many runs of the simulation, and how long a soak.
SIMSEEDS ?= 10000
SOAKTIME ?= 30m
# All our Go files.
GOFILES := find . -name '*.go' -not -path '*/testdata/*' -not -path './.*'
# Arguments of the benchmarks: `make bench BENCH="sidebyside -h"`; none: all of them.
BENCH ?=
# Seconds of load before the page is looked at, and where the screenshots go.
SAMPLES ?= 40
PICTURES ?=
# Arguments of the login storm: `make storm STORM="-pgbouncer /usr/sbin/pgbouncer"`.
STORM ?=

.DEFAULT_GOAL := help
.PHONY: help run build test lint unit fuzz sim storm statements soak bench docs page-test alerts test-pgs drivers suites fmt docker-check

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | while IFS="$$(printf '\t')" read -r t d; do \
		printf '  %-14s %s\n' "$$t" "$$d"; done

run: ## a throwaway PostgreSQL and both pools on 6432 and 6433; SERVER=host:port uses a PostgreSQL you have
	@bash scripts/run.sh

build: ## bin/hybridbouncer
	CGO_ENABLED=0 go build -trimpath -o bin/hybridbouncer ./cmd/hybridbouncer

test: lint unit ## everything that must pass: lint, unit and integration tests with the race detector, short fuzz runs
	@FUZZTIME=$(FUZZTIME) bash scripts/fuzz.sh

lint: ## go vet (also as on macOS and FreeBSD and with the build tags), gofumpt, staticcheck
	go vet ./...
	go vet -tags $(TAGS) ./...
	GOOS=darwin go vet ./...
	GOOS=freebsd go vet ./...
	@unformatted="$$($(GOFILES) | xargs go tool gofumpt -l)"; \
		if [ -n "$$unformatted" ]; then echo "not as gofumpt writes it (make fmt):"; echo "$$unformatted"; exit 1; fi
	go tool staticcheck -tags $(TAGS) ./...

unit: ## unit and integration tests on a real PostgreSQL, with the race detector
	@TAGS=$(TAGS) bash scripts/test.sh

fuzz: ## each fuzz target for FUZZTIME
	@FUZZTIME=$(FUZZTIME) bash scripts/fuzz.sh

sim: ## the deterministic simulation over SIMSEEDS seeds, and every planted bug
	go test -tags $(TAGS) -count=1 -timeout 60m -v ./internal/sim -args -seeds $(SIMSEEDS) -planted

test-pgs: ## the integration tests in front of PostgreSQL 14 to 18; VERSIONS="14 18" for fewer
	@TAGS=$(TAGS) bash scripts/pgs.sh

storm: ## 5000 SCRAM logins at once while 100 clients run queries, PgBouncer beside ours; STORM="-nice 19"
	go run ./bench storm $(STORM)

statements: ## 10,000 distinct prepared statements from 200 clients over 25 servers, with errors, DEALLOCATE and clients that die
	go test -tags $(TAGS) -count=1 -timeout 30m -run TestStatementsInDisorder -v ./proxy -args -disorder-clients 200 -disorder-servers 25 \
		-disorder-statements 10000 -disorder-steps 300

drivers: ## real programs of many drivers in front of both ports; writes docs/DRIVERS.md; ONLY="pgx,JDBC" for some
	@bash scripts/drivers.sh

suites: ## the drivers' own test suites through both ports; writes docs/SUITES.md; ONLY="pgx,asyncpg" for some
	@bash scripts/suites.sh

page-test: ## drive the status page in headless Chromium (Debian: chromium); PICTURES=docs/pictures keeps screenshots, SAMPLES=300 for longer load
	cd tools/pagetest && go vet ./... && go test -count=1 -timeout 15m . -args -samples $(SAMPLES) -pictures "$(if $(PICTURES),$(abspath $(PICTURES)))"

soak: ## the integration tests again and again, for SOAKTIME
	@TAGS=$(TAGS) SOAKTIME=$(SOAKTIME) bash scripts/soak.sh

bench: ## the load scenarios and the side-by-side runs; see bench/README.md
	go run ./bench $(BENCH)

docs: ## write the generated documents anew
	go generate ./...

fmt: ## format all Go files as gofumpt does
	@$(GOFILES) | xargs go tool gofumpt -w

docker-check: ## vet the Docker fallback of `make run`, a module of its own
	cd tools/dockerpg && go vet ./... && go mod verify
