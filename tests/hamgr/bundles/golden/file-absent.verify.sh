#!/bin/sh
# hamgr: c: verify: s
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\n' "$1"; exit 0; }
path=/etc/x.conf
target=$root$path
[ ! -e "$target" ] && [ ! -L "$target" ] || fail "$path is there"
done_ unchanged
