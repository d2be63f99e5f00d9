#!/bin/bash
# Builds the release into FOLDER (default dist): one static binary for each platform, and SHA256SUMS. The same source and the same Go
# release give the same bytes on every machine: `make release-check` proves it.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-dist}
platforms=${PLATFORMS:-linux/amd64 linux/arm64 darwin/arm64}
version=${VERSION:-$(git describe --tags --always --dirty --abbrev=12)}
version=${version#v}

# Settings of the builder's environment must not reach the binaries.
export CGO_ENABLED=0 GOFLAGS='' GOEXPERIMENT='' GOAMD64=v1 GOARM64=v8.0 GOFIPS140=off GOWORK=off

rm -rf "$folder"
mkdir -p "$folder"
for platform in $platforms; do
	name=hybridbouncer-$version-${platform%/*}-${platform#*/}
	# The version comes from the flag alone: what Go notes of the checkout (-buildvcs) differs between a clone and an archive.
	GOOS=${platform%/*} GOARCH=${platform#*/} go build -trimpath -buildvcs=false -ldflags "-s -w -X main.release=$version" \
		-o "$folder/$name" ./cmd/hybridbouncer
done
cd "$folder"
if command -v sha256sum >/dev/null; then
	sha256sum hybridbouncer-* >SHA256SUMS
else
	shasum -a 256 hybridbouncer-* >SHA256SUMS # macOS
fi
cat SHA256SUMS
