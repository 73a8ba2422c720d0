#!/usr/bin/env bash
# Gives the tests of queues a redis-server to start: on Debian and Ubuntu as root from the distribution; does nothing where there is one.
# Exit status: 0 it is there, 1 the installation failed, 3 not a machine that this script knows how to change.
set -euo pipefail

if command -v redis-server >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo 'No redis-server: the tests of queues are skipped. On Debian, run scripts/install-redis.sh as root.' >&2
  exit 3
fi

echo 'Installing redis-server with apt-get, for the tests of queues'
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
trap 'rm -f "$log"' EXIT
# Only the program is wanted: no server starts with the package.
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$log" "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >"$log" 2>&1 || true
if ! apt-get install -q -y --no-install-recommends redis-server >>"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo 'redis-server could not be installed' >&2
  exit 1
fi
