#!/bin/sh
# hamgr: c: verify: s
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\n' "$1"; exit 0; }
export HAMGR_NODE=n1
export HAMGR_COMPONENT=c
export HAMGR_VERB=verify
export HAMGR_VAR_extra='{"k": [1, null]}'
export HAMGR_VAR_name='a b; touch canary'
export HAMGR_VAR_port=8080
box=$state/scripts
body=$box/c-verify-s.$$
umask 077
[ -d "$box" ] || mkdir -p "$box" || fail "cannot make $box"
# One attempt at a time runs on a node: what is here was left by one that was killed.
for old in "$box"/*; do
  [ ! -e "$old" ] || rm -f "$old"
done
cat >"$body" <<'END_0' || fail "cannot write $body"
true
END_0
umask 022
sh "$body" </dev/null
code=$?
rm -f "$body"
exit "$code"
