#!/bin/bash
# Makes sure that this machine has PostgreSQL's server programs (initdb, postgres). Installs them by the package manager if they are
# missing and we may (root, or sudo without a password). Exit code 0: they are there; 1: they are not, and
# a text on standard error says how to install them.
# No server is left running: the tests and the demo start their own.
set -uo pipefail

found() {
	local dir
	if [ -n "${HYBRIDBOUNCER_PG_BIN:-}" ]; then
		[ -x "$HYBRIDBOUNCER_PG_BIN/initdb" ] && [ -x "$HYBRIDBOUNCER_PG_BIN/postgres" ]
		return
	fi
	if command -v initdb >/dev/null && command -v postgres >/dev/null; then
		return 0
	fi
	# The places that internal/pgtest/install.go knows.
	for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* /opt/homebrew/opt/postgresql*/bin \
		/usr/local/opt/postgresql*/bin /usr/local/pgsql/bin; do
		if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ]; then
			return 0
		fi
	done
	return 1
}

say_what_to_do() {
	cat >&2 <<'TEXT'
There is no PostgreSQL on this machine (no initdb and postgres in PATH or where packages put them), and it could not be installed.
One of these helps:
  - install it as root:  Debian, Ubuntu: apt-get install postgresql    Fedora: dnf install postgresql-server
                         Alpine: apk add postgresql                     macOS: brew install postgresql@17
  - HYBRIDBOUNCER_PG_BIN=/folder/with/initdb/and/postgres make ...
  - make run only:       SERVER=host:port make run   uses a PostgreSQL you have; a running Docker engine is used by itself
TEXT
}

# Debian's package makes a cluster and starts it; nobody asked for that one.
install_debian() {
	export DEBIAN_FRONTEND=noninteractive
	$sudo apt-get update -q &&
		$sudo apt-get install -y -q --no-install-recommends postgresql-common &&
		$sudo sh -c 'mkdir -p /etc/postgresql-common/createcluster.d &&
			echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/hybridbouncer.conf' &&
		$sudo apt-get install -y -q --no-install-recommends postgresql
	local code=$?
	$sudo rm -f /etc/postgresql-common/createcluster.d/hybridbouncer.conf
	return $code
}

if found; then
	exit 0
fi
if [ -n "${HYBRIDBOUNCER_PG_BIN:-}" ]; then
	echo "HYBRIDBOUNCER_PG_BIN is $HYBRIDBOUNCER_PG_BIN, which does not hold initdb and postgres" >&2
	exit 1
fi

sudo=
if [ "$(id -u)" -ne 0 ]; then
	if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
		sudo="sudo -n"
	elif ! command -v brew >/dev/null; then
		say_what_to_do
		exit 1
	fi
fi
echo "PostgreSQL is missing; installing it" >&2
if command -v apt-get >/dev/null; then
	install_debian >&2
elif command -v dnf >/dev/null; then
	$sudo dnf install -y -q postgresql-server postgresql-contrib >&2
elif command -v apk >/dev/null; then
	$sudo apk add -q postgresql postgresql-contrib >&2
elif command -v brew >/dev/null; then
	brew install -q postgresql@17 >&2
fi
if ! found; then
	say_what_to_do
	exit 1
fi
