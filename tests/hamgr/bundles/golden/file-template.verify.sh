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
sum=732322f37243042be9e5af21441ccfeed748f1cc2dacce6a9cc8cf31b4207083
mode=0640
format='%a %U'
wanted='640 root'
owner=
owner=root user=root group='' short=640
if [ "$(id -u)" != 0 ]; then
  [ -z "$user" ] || [ "$user" = "$(id -un)" ] || [ "$user" = "$(id -u)" ] || other=$user
  [ -z "$group" ] || [ "$group" = "$(id -gn)" ] || [ "$group" = "$(id -g)" ] || other=${other:-}:$group
  if [ -n "${other:-}" ]; then
    [ -n "$root" ] || fail "cannot give $path to $other: hamgr does not log in as root here"
    printf 'hamgr: practice node: %s is not given to %s\n' "$path" "$other"
  fi
  owner='' format=%a wanted=$short
fi
[ ! -L "$target" ] || fail "$path is a symbolic link"
[ -e "$target" ] || fail "$path is not there"
[ -f "$target" ] || fail "$path is not a file"
have=$(sha256sum <"$target") || fail "cannot read $path"
[ "${have%% *}" = "$sum" ] || fail "$path has other content"
have=$(stat -c "$format" "$target") || fail "cannot look at $path"
[ "$have" = "$wanted" ] || fail "$path has mode and owner $have, not $wanted"
done_ unchanged
