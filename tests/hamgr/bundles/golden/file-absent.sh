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
[ -e "$target" ] || [ -L "$target" ] || done_ unchanged
[ -L "$target" ] || [ ! -d "$target" ] || fail "$path is a directory"
rm -f "$target" || fail "cannot remove $path"
sync "${target%/*}" || fail "cannot store the directory of $path on the disk"
done_ changed
