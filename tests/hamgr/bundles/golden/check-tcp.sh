#!/bin/sh
# hamgr: c: commission: s
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\n' "$1"; exit 0; }
host=127.0.0.1
port=8080
within=0
why="nothing accepts connections at $host port $port"
if command -v bash >/dev/null 2>&1; then
  attempt() { timeout 5 bash -c ': <>"/dev/tcp/$0/$1"' "$host" "$port" 2>/dev/null; }
elif command -v python3 >/dev/null 2>&1; then
  attempt() {
    python3 -I -S -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()' "$host" "$port" 2>/dev/null
  }
elif command -v nc >/dev/null 2>&1; then
  attempt() { nc -z -w 5 "$host" "$port" >/dev/null 2>&1 </dev/null; }
else
  fail 'there is neither bash nor python3 nor nc on this node to try a connection with'
fi
attempt "$@" || fail "$why"
done_ unchanged
