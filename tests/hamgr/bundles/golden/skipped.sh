#!/bin/sh
# hamgr: c: commission: s
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\n' "$1"; exit 0; }
printf 'skipped: when %s is false\n' 'port == 80'
done_ unchanged
