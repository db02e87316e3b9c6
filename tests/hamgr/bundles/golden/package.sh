#!/bin/sh
# hamgr: c: commission: s
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\n' "$1"; exit 0; }
set -- curl g++
goal=latest version='' manager=auto
LC_ALL=C.UTF-8
export LC_ALL
recommends=no lock_wait_s=150
use_practice() {
book=$state/packages
have() { is=; [ ! -f "$book/$1" ] || is=$(cat "$book/$1"); }
offer() { can=${version:-noted}; }
outdated() { can=noted; return 1; }
right_version() { [ "$is" = "$version" ]; }
fetch() { :; }
mend() { [ -d "$book" ] || mkdir -p "$book" || fail "cannot make $book"; }
add() {
  for name in "$@"; do
    printf 'hamgr: practice node: %s is only noted, not installed\n' "$name"
    printf '%s\n' "${version:-noted}" >"$book/$name" || fail "cannot write $book/$name"
  done
}
drop() { for name in "$@"; do rm -f "$book/$name"; done; }
}
use_apt() {
lock_until=
# Runs a command, and again for as long as another program has a lock of apt's or dpkg's, which wait for the
# locks of dpkg's front ends at most, and not for those of the lists and archives.
patient() {
  [ -n "$lock_until" ] || lock_until=$(($(date +%s) + lock_wait_s))
  until { told=$("$@" 2>&1 >&3 </dev/null); } 3>&1; do
    lock_wait_s=$((lock_until - $(date +%s)))
    case $told in
      *'Could not get lock'* | *'locked by another process'*)
        [ "$lock_wait_s" -le 0 ] || { sleep 1; continue; }
        printf '%s\n' "$told"
        fail 'another program has a lock of the package manager; run this again when it is done' ;;
    esac
    printf '%s\n' "$told"
    return 1
  done
  [ -z "$told" ] || printf '%s\n' "$told"
}
apt() {
  patient env DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_SUSPEND=1 \
    apt-get -y -q -o DPkg::Lock::Timeout="$lock_wait_s" \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}
have() {
  is=
  told=$(dpkg-query -W -f='${db:Status-Status} ${Version}\n' "$1" 2>/dev/null </dev/null)
  code=$?
  [ "$code" -le 1 ] || fail "the package database cannot be read (dpkg-query ended with $code)"
  while read -r status found; do
    case $status in
      installed|triggers-*) is=$found; return 0 ;;
      ''|not-installed|config-files) ;;
      *) [ "$goal" != absent ] || is=$found ;; # there by half: neither installed nor gone
    esac
  done <<told
$told
told
}
offer() {
  can=$(apt-cache policy "$1" 2>/dev/null </dev/null | sed -n '/^  Candidate: /{s///;p;q;}')
  [ "$can" != '(none)' ] || can=
}
outdated() { offer "$1"; [ -n "$can" ] && [ "$can" != "$is" ]; }
right_version() { [ "$is" = "$version" ]; }
fetch() { apt update; }
mend() {
  patient env DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold --configure -a ||
    fail 'packages that were installed by half cannot be completed; look at `dpkg --audit` on the node'
}
add() {
  options=--no-install-recommends
  [ "$recommends" = no ] || options=--install-recommends
  if [ -n "$version" ]; then
    apt install "$options" --allow-downgrades "$1=$version"
  else
    apt install "$options" "$@"
  fi
}
drop() { apt remove "$@"; }
}
use_dnf() {
yum() {
  weak=False
  [ "$recommends" = no ] || weak=True
  dnf -y -q --setopt=install_weak_deps="$weak" "$@" </dev/null
}
have() {
  is=$(rpm -q --qf '%{EPOCHNUM}:%{VERSION}-%{RELEASE}\n' "$1" 2>&1 </dev/null) || {
    case $is in *' is not installed') is=; return 0 ;; esac
    fail "the package database cannot be read: $is"
  }
  # Of a package that may be there several times (a kernel), the last one installed is printed last.
  is=$(printf '%s\n' "$is" | sed -n '$p')
  is=${is#0:}
}
offer() {
  # dnf 4 ends each line by itself, dnf 5 does not: of these lines, every other one is empty with dnf 4.
  can=$(dnf -q -C repoquery --latest-limit=1 --qf '%{evr}\n' "$1" 2>/dev/null </dev/null |
    sed -n '/./h;${x;p;}')
}
outdated() {
  can=
  dnf -q -C check-update "$1" >/dev/null 2>&1 </dev/null
  code=$?
  case $code in
    0) return 1 ;;
    100) offer "$1"; return 0 ;;
  esac
  fail "dnf does not say whether $1 is up to date (exit status $code)"
}
right_version() {
  plain=${is#*:}
  [ "$is" = "$version" ] || [ "$plain" = "$version" ] || [ "${plain%-*}" = "$version" ]
}
fetch() { dnf -y -q makecache </dev/null; }
mend() { :; }
add() {
  if [ -n "$version" ]; then
    yum install "$1-$version"
    have "$1"
    right_version || yum downgrade "$1-$version"
  elif [ "$goal" = latest ]; then
    yum install "$@" && yum upgrade "$@"
  else
    yum install "$@"
  fi
}
drop() { yum remove --noautoremove "$@"; }
}
# Sets `why`, what is wrong now, and `would`, what would be done; fails where nothing is wrong.
wrong() {
  have "$1"
  why= would=
  case $goal in
    absent)
      [ -z "$is" ] || { why="$1 $is is installed"; would="remove $1 $is"; } ;;
    *)
      if [ -z "$is" ]; then
        why="$1 is not installed" would="install $1${version:+ $version}"
      elif [ -n "$version" ]; then
        right_version ||
          { why="$1 is installed as $is, not $version"; would="change $1 from $is to $version"; }
      elif [ "$goal" = latest ] && outdated "$1"; then
        why="$1 is installed as $is${can:+, and $can is there}" would="upgrade $1 from $is${can:+ to $can}"
      fi ;;
  esac
  [ -n "$why" ]
}
if [ -n "$root" ]; then
  use_practice
elif [ "$manager" = apt ] || { [ "$manager" = auto ] && command -v apt-get >/dev/null 2>&1; }; then
  for tool in apt-get apt-cache dpkg-query; do
    command -v "$tool" >/dev/null 2>&1 || fail "there is no $tool on this node; is \`manager\` right?"
  done
  use_apt
elif [ "$manager" = dnf ] || command -v dnf >/dev/null 2>&1; then
  for tool in dnf rpm; do
    command -v "$tool" >/dev/null 2>&1 || fail "there is no $tool on this node; is \`manager\` right?"
  done
  use_dnf
else
  fail 'there is neither apt-get nor dnf on this node; use a script for its packages'
fi
[ "$goal" != latest ] || fetch || fail 'the lists of packages cannot be fetched'
# Names have no spaces and no patterns in them, so a text can hold a list of them.
todo= unknown=
for name in "$@"; do
  wrong "$name" || continue
  todo="$todo $name"
  printf 'will %s\n' "$would"
  [ -n "$is" ] || { offer "$name"; [ -n "$can" ] || unknown=yes; }
done
[ -n "$todo" ] || done_ unchanged
mend
set -- $todo
if [ "$goal" = absent ]; then
  drop "$@" || fail "cannot remove$todo"
else
  if [ -n "$unknown" ]; then
    fetch || fail 'the lists of packages cannot be fetched'
    for name in "$@"; do
      have "$name"
      [ -z "$is" ] || continue
      offer "$name"
      [ -n "$can" ] || fail "there is no package $name for this node"
    done
  fi
  add "$@" || fail "cannot install$todo"
fi
for name in "$@"; do
  ! wrong "$name" || fail "$why, though the package manager says that all is done"
done
done_ changed
