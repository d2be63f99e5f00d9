# `make help` lists the targets. A target of several commands has a script in scripts/.

# Passed to every test run: `checks` turns on the assertions that production does without, such as: only a loop's
# own thread touches its memory.
TAGS := checks
# Per fuzz target; `make fuzz FUZZTIME=10m` for a long run.
FUZZTIME ?= 3s
# How many runs of the simulation, and how long a soak.
SIMSEEDS ?= 10000
SOAKTIME ?= 30m
# All our Go files.
GOFILES := find . -name '*.go' -not -path '*/testdata/*' -not -path './.*'
# golangci-lint at the version of tools/lint/go.mod. That is a module of its own, so that a build of hybridbouncer loads none of the 200
# modules. The first run on a machine builds it, which takes two idle cores 2 to 3 minutes. Its settings are in .golangci.yml.
GOLANGCI := go tool -modfile=tools/lint/go.mod golangci-lint
# Arguments of the benchmarks: `make bench BENCH="sidebyside -h"`; none: all of them.
BENCH ?=
# The version of `make release`; empty: the tag or the commit.
VERSION ?=
# Seconds of load before the page is looked at, and where the screenshots go.
SAMPLES ?= 40
PICTURES ?=
# Arguments of the login storm: `make storm STORM="-pgbouncer /usr/sbin/pgbouncer"`.
STORM ?=

.DEFAULT_GOAL := help
.PHONY: $(shell grep -oE "^[a-z-]+:" $(firstword $(MAKEFILE_LIST)) | tr -d :)

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | while IFS="$$(printf '\t')" read -r t d; do \
		printf '  %-14s %s\n' "$$t" "$$d"; done

run: ## a throwaway PostgreSQL and both pools on 6432 and 6433; SERVER=host:port uses a PostgreSQL you have
	@bash scripts/run.sh

build: ## bin/hybridbouncer
	CGO_ENABLED=0 go build -trimpath -o bin/hybridbouncer ./cmd/hybridbouncer

test: lint unit ## everything that must pass: lint, unit and integration tests with the race detector, short fuzz runs
	@FUZZTIME=$(FUZZTIME) bash scripts/fuzz.sh

lint: ## go.mod is tidy, go vet (also as on macOS and FreeBSD and with the build tags), gofumpt, staticcheck
	go mod tidy -diff
	go vet ./...
	go vet -tags $(TAGS) ./...
	go vet -tags "$(TAGS) pgbouncer" ./compat/migration
	GOOS=darwin go vet ./...
	GOOS=freebsd go vet ./...
	@unformatted="$$($(GOFILES) | xargs go tool gofumpt -l)"; \
		if [ -n "$$unformatted" ]; then echo "not as gofumpt writes it (make fmt):"; echo "$$unformatted"; exit 1; fi
	$(GOLANGCI) run --enable-only staticcheck,unused ./...

golangci: ## every linter of .golangci.yml
	$(GOLANGCI) run ./...

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

catalogue: ## how long a database of 10,000 functions and 5,000 tables takes to load, in time and memory
	go test -count=1 -timeout 30m -run TestLargeDatabase -v ./catalog -args -functions 10000 -tables 5000

drivers: ## real programs of many drivers in front of both ports; writes docs/DRIVERS.md; ONLY="pgx,JDBC" for some
	@bash scripts/drivers.sh

suites: ## the drivers' own test suites through both ports; writes docs/SUITES.md; ONLY="pgx,asyncpg" for some
	@bash scripts/suites.sh

migration: ## the same ini files given to PgBouncer and to ours: logins, aliases, pool modes, sizes, faults; needs pgbouncer on PATH
	go test -tags "$(TAGS) pgbouncer" -count=1 -v ./compat/migration

page-test: ## drive the status page in headless Chromium (Debian: chromium); PICTURES=docs/pictures keeps screenshots, SAMPLES=300 for longer load
	cd tools/pagetest && go vet ./... && go test -count=1 -timeout 15m -run TestPage . -args -samples $(SAMPLES) -pictures "$(if $(PICTURES),$(abspath $(PICTURES)))"

alerts: ## the alert rules by promtool, and alerts and dashboard on a real scrape by Prometheus (Debian: prometheus)
	promtool check rules deploy/prometheus/alerts.yml
	promtool test rules deploy/prometheus/alerts_test.yml
	cd tools/pagetest && go vet ./... && go test -count=1 -timeout 10m -run TestPrometheus . -args -prometheus prometheus

soak: ## the integration tests again and again, for SOAKTIME
	@TAGS=$(TAGS) SOAKTIME=$(SOAKTIME) bash scripts/soak.sh

bench: ## the load scenarios and the side-by-side runs; see bench/README.md
	go run ./bench $(BENCH)

docs: ## write the generated documents anew
	go generate ./...

release: ## static binaries for linux/amd64, linux/arm64 and darwin/arm64 with SHA256SUMS in dist/; VERSION=1.2.3 names them
	@VERSION=$(VERSION) bash scripts/release.sh dist

release-check: ## build the release twice, in two folders with two build caches: the bytes must be the same
	@VERSION=$(VERSION) bash scripts/release_check.sh

fmt: ## format all Go files as gofumpt does
	@$(GOFILES) | xargs go tool gofumpt -w

docker-check: ## vet the Docker fallback of `make run`, a module of its own
	cd tools/dockerpg && go vet ./... && go mod verify
