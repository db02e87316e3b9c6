#!/bin/sh
# hamgr: c: commission: s
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\n' "$1"; exit 0; }
unit=x.service
enable=yes
record=$state/services/$unit
changed=unchanged
watched() { sha256sum "$root"/etc/x.conf 2>/dev/null; }
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
now=$(watched)
case $enable in
  yes) enabled || { call enable "$unit"; changed=changed; } ;;
  no) ! enabled || { call disable "$unit"; changed=changed; } ;;
esac
verb=
if active; then
  [ -z "$now" ] || recorded || verb=restart
else
  verb=start
fi
if [ -n "$verb" ]; then
  call daemon-reload
  call "$verb" "$unit"
  active || { systemctl status "$unit" >&2 </dev/null; fail "$unit was started and did not stay up"; }
  [ -d "$state/services" ] || mkdir -p "$state/services" || fail "cannot make $state/services"
  # Not renamed into place: half a record is only another record, and means one more restart.
  printf '%s\n' "$now" >"$record" || fail "cannot write $record"
  changed=changed
fi
done_ "$changed"
