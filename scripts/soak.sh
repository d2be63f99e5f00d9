#!/bin/bash
# Runs the tests again and again, in random order, until SOAKTIME is over or one fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

unit=${SOAKTIME: -1}
number=${SOAKTIME%?}
case $unit in
s) seconds=$number ;;
m) seconds=$((number * 60)) ;;
h) seconds=$((number * 3600)) ;;
*)
	echo "SOAKTIME is a number with s, m or h, not $SOAKTIME" >&2
	exit 1
	;;
esac
round=0
while [ $SECONDS -lt "$seconds" ]; do
	round=$((round + 1))
	echo "== round $round, after ${SECONDS}s =="
	bash scripts/test.sh -count=1 -shuffle=on || exit 1
done
echo "$round rounds in ${SECONDS}s without a failure"
