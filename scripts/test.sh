#!/bin/bash
# The tests with the race detector, and then: is anything they started still running? Each process that descends from this script
# carries HB_TEST_RUN in its environment. PACKAGES="./pool ./proxy" tests fewer.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

mark=$$-$RANDOM$RANDOM
left() {
	local dir
	for dir in /proc/[0-9]*; do
		if [ "${dir#/proc/}" != $$ ] && { tr '\0' '\n' <"$dir/environ" | grep -qx "HB_TEST_RUN=$mark"; } 2>/dev/null; then
			echo "${dir#/proc/} $(tr '\0' ' ' <"$dir/cmdline" 2>/dev/null | cut -c1-120)"
		fi
	done
}

HB_TEST_RUN=$mark go test -race -tags "${TAGS:-checks}" -timeout 15m "$@" ${PACKAGES:-./...}
code=$?

# Processes killed at the end of a test may need a moment.
for _ in $(seq 50); do
	running=$(left)
	[ -z "$running" ] && exit $code
	sleep 0.2
done
echo "FAIL: the tests left processes running:" >&2
echo "$running" >&2
exit 1
