#!/bin/sh
# hamgr: c: commission: s
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\n' "$1"; exit 0; }
set -- test -e 'a b; touch canary'
within=3
# `env` starts programs only: no word of the command can name a function or a keyword of this shell.
attempt() {
  output=$(env "$@" 2>&1 </dev/null) && return
  why="$1 ended with exit status $?: $output"
  return 1
}
# Whole seconds of the node's own uptime: no process is started to read it, and nobody can set it back.
read -r clock rest </proc/uptime
end=$((${clock%%.*} + within + 1))
until attempt "$@"; do
  read -r clock rest </proc/uptime
  [ "${clock%%.*}" -lt "$end" ] || fail "$why (asked for $within s)"
  sleep 0.2
done
done_ unchanged
