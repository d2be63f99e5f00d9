#!/bin/bash
# The drivers' own test suites through both ports; writes docs/SUITES.md. They are unpacked into SUITES_CACHE, nothing else is touched.
# ONLY="pgx,asyncpg" runs some and PORTS="transaction" on some; of the others the results of the last run count. TESTS runs the tests that
# this pattern matches, and writes nothing.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
exec go run ./compat/suites -work "${SUITES_CACHE:-${TMPDIR:-/tmp}/hybridbouncer-suites}" -only "${ONLY:-}" -ports "${PORTS:-direct,session,transaction}" -tests "${TESTS:-}"
