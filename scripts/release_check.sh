#!/bin/bash
# Builds the release twice and compares: in this folder, then in a copy of it elsewhere with an empty build cache. Fails if one byte
# differs, if a binary is not static, or if the binary for this machine does not print the version it was built as.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
export VERSION=${VERSION:-$(git describe --tags --always --dirty --abbrev=12)}

bash scripts/release.sh "$scratch/first" >/dev/null
mkdir "$scratch/elsewhere"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
	[ -e "$file" ] && printf '%s\0' "$file"
done | tar --null -T - -cf - | tar -xf - -C "$scratch/elsewhere"
GOCACHE=$scratch/cache bash "$scratch/elsewhere/scripts/release.sh" "$scratch/second" >/dev/null
diff -r "$scratch/first" "$scratch/second"

count=0
for binary in "$scratch"/first/hybridbouncer-*; do
	if ! go version -m "$binary" | grep -q 'CGO_ENABLED=0'; then
		echo "$(basename "$binary") was not built with CGO_ENABLED=0" >&2
		exit 1
	fi
	count=$((count + 1))
done
own=$scratch/first/hybridbouncer-${VERSION#v}-$(go env GOHOSTOS)-$(go env GOHOSTARCH)
if [ -e "$own" ] && ! "$own" version | grep -qF "hybridbouncer ${VERSION#v}, "; then
	echo "$own prints $("$own" version), not version ${VERSION#v}" >&2
	exit 1
fi
echo "built twice, the same: $count binaries of version ${VERSION#v}"
cat "$scratch/first/SHA256SUMS"
