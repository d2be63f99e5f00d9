#!/bin/bash
# `make run`: both pools in front of a PostgreSQL: that of SERVER=host:port, or a throwaway one, or one in Docker.
set -euo pipefail
cd "$(dirname "$0")/.."
config=${CONFIG:-config.toml}

mkdir -p bin
go build -o bin/hybridbouncer ./cmd/hybridbouncer

if [ -n "${SERVER:-}" ]; then
	host=${SERVER%:*}
	port=${SERVER##*:}
	if [ "$host" = "$SERVER" ]; then
		port=5432
	fi
	host=${host#[}
	host=${host%]}
	echo "PostgreSQL is $host port $port; users are those of userlist.txt (see the head of $config)"
	export HYBRIDBOUNCER_SERVER_HOST=$host HYBRIDBOUNCER_SERVER_PORT=$port
	exec bin/hybridbouncer run -config "$config"
fi
if why=$(bash scripts/postgres.sh 2>&1); then
	exec bin/hybridbouncer demo -config "$config"
fi
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
	echo "No PostgreSQL here; starting one in Docker"
	root=$PWD
	go -C tools/dockerpg build -o "$root/bin/dockerpg" .
	exec bin/dockerpg bash scripts/run.sh # sets SERVER
fi
echo "$why" >&2
exit 1
