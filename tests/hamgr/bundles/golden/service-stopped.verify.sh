#!/bin/sh
# hamgr: c: verify: s
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\n' "$1"; exit 0; }
unit=x.service
enable=no
record=$state/services/$unit
changed=unchanged
watched() { :; }
command -v systemctl >/dev/null 2>&1 ||
  fail "there is no systemctl on this node, so nobody can be asked about $unit"
active() {
  is=$(systemctl is-active "$unit" 2>/dev/null </dev/null)
  code=$?
  [ "$code" != 0 ] || return 0
  case $is in
    inactive|failed|unknown|activating|deactivating|maintenance) return 1 ;;
  esac
  [ "$code" = 3 ] || [ "$code" = 4 ] ||
    fail "the service manager does not say whether $unit runs (exit status $code)"
  return 1
}
enabled() { systemctl is-enabled "$unit" >/dev/null 2>&1 </dev/null; }
call() {
  systemctl "$@" </dev/null && return
  systemctl status "$unit" >&2 </dev/null
  fail "systemctl $* did not succeed"
}
recorded() { [ -f "$record" ] && old=$(cat "$record") && [ "$old" = "$now" ]; }
! active || fail "$unit runs"
[ "$is" != activating ] || fail "$unit is starting"
case $enable in
  yes) enabled || fail "$unit is not enabled" ;;
  no) ! enabled || fail "$unit is enabled; it would run after a reboot" ;;
esac
done_ unchanged
