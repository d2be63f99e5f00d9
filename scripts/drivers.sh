#!/bin/bash
# The driver matrix: real programs of many drivers in front of both ports; writes docs/DRIVERS.md. The drivers are installed from their
# registries into DRIVERS_CACHE, nothing else is touched. ONLY="pgx,JDBC" runs some and writes no table.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
exec go run ./compat/drivers -work "${DRIVERS_CACHE:-${TMPDIR:-/tmp}/hybridbouncer-drivers}" -only "${ONLY:-}"
