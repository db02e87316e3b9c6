#!/bin/sh
# hamgr: c: commission: s
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\n' "$1"; exit 0; }
record=$state/reboots/c-commission-s
source=/proc/sys/kernel/random/boot_id
# A practice node is started and stopped, and says so in its folder.
[ -z "$root" ] || [ ! -r "$root/run/boot_id" ] || source=$root/run/boot_id
read -r boot <"$source" || fail "cannot read $source, so nobody could tell a restart"
ask() {
  if command -v systemctl >/dev/null 2>&1; then
    systemctl reboot </dev/null
  else
    reboot </dev/null
  fi
}
[ -d "${record%/*}" ] || mkdir -p "${record%/*}" || fail "cannot make ${record%/*}"
printf '%s %s\n' "$HAMGR_JOB" "$boot" >"$record" && sync "$record" && sync "${record%/*}" ||
  fail "cannot store $record, so nothing was restarted"
printf 'asking for a restart of boot %s\n' "$boot"
ask || fail "the machine cannot be restarted: the command ended with exit status $?"
while :; do sleep 1; done
