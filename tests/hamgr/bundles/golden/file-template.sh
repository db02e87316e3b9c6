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
[ ! -d "$target" ] || fail "$path is a directory"
if [ -f "$target" ] && [ ! -L "$target" ]; then
  have=$(sha256sum <"$target") || fail "cannot read $path"
  if [ "${have%% *}" = "$sum" ]; then
    have=$(stat -c "$format" "$target") || fail "cannot look at $path"
    [ "$have" != "$wanted" ] || done_ unchanged
    [ -z "$owner" ] || chown "$owner" "$target" || fail "cannot give $path to $owner"
    chmod "$mode" "$target" || fail "cannot set the mode of $path"
    done_ changed
  fi
fi
folder=${target%/*}
[ -d "$folder" ] || mkdir -p "$folder" || fail "cannot make the directory of $path"
new=$folder/.${target##*/}.hamgr-new
[ ! -e "$new" ] && [ ! -L "$new" ] || rm -f "$new" || fail "cannot remove the left-over $new"
umask 077
set -C
cat >"$new" <<'END_0' || fail "cannot write $new"
port=8080
END_0
set +C
have=$(sha256sum <"$new")
[ "${have%% *}" = "$sum" ] || fail "what was written for $path is not what was sent; is the disk full?"
[ -z "$owner" ] || chown "$owner" "$new" || fail "cannot give $path to $owner"
chmod "$mode" "$new" || fail "cannot set the mode of $path"
sync "$new" || fail "cannot store $path on the disk"
mv -f "$new" "$target" || fail "cannot put $path in its place"
sync "$folder" || fail "cannot store the directory of $path on the disk"
done_ changed
