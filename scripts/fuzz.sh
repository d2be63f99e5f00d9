#!/bin/bash
# Runs every fuzz target there is for FUZZTIME each. A failure leaves its input in the package's testdata/fuzz: commit it with the fix.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

time=${FUZZTIME:-3s}
code=0
targets=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
while IFS=: read -r file line; do
	dir=$(dirname "$file")
	target=$(sed -E 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/' <<<"$line")
	begin=$SECONDS
	if go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 5s "$dir" >"$out" 2>&1; then
		echo "ok  	fuzz $dir $target	$((SECONDS - begin))s"
	elif ! grep -q 'Failing input written' "$out" && grep -q 'context deadline exceeded' "$out"; then
		# https://github.com/golang/go/issues/75804: up to Go 1.26 the end of the time can count as a failure.
		echo "ok  	fuzz $dir $target	$((SECONDS - begin))s (ended late)"
	else
		cat "$out"
		echo "FAIL	fuzz $dir $target"
		code=1
	fi
	targets=$((targets + 1))
done < <(find . -name '*_test.go' -not -path '*/testdata/*' -not -path './.*' | sort | xargs grep -HE '^func Fuzz[A-Za-z0-9_]*\(')
if [ "$targets" -eq 0 ]; then
	echo "FAIL	found no fuzz target, which cannot be right" >&2
	exit 1
fi
exit $code
