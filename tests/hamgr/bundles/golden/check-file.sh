#!/bin/sh
# hamgr: c: commission: s
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\n' "$1"; exit 0; }
path=/etc/x.conf
target=$root$path
sum=0000000000000000000000000000000000000000000000000000000000000000
within=0
attempt() {
  why="$path is not there"
  [ -e "$target" ] || return 1
  [ -n "$sum" ] || return 0
  why="$path cannot be read"
  have=$(sha256sum <"$target") || return 1
  why="$path has other content"
  [ "${have%% *}" = "$sum" ]
}
attempt "$@" || fail "$why"
done_ unchanged
