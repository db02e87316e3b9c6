#!/bin/sh
# hamgr: c: commission: s
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\n' "$1"; exit 0; }
url=http://127.0.0.1:8080/
status=200
needle='it'"'"'s'
within=10
newline='
'
holds() {
  why="$url answers with status $1, not $status"
  [ "$1" = "$status" ] || return 1
  why="the page at $url does not contain what it should"
  case $2 in *"$needle"*) return 0 ;; esac
  return 1
}
if command -v curl >/dev/null 2>&1; then
  attempt() {
    answer=$(curl -q -gsS --noproxy '*' -m 5 --max-filesize 1000000 \
      -w '\n%{http_code}' --url "$url" 2>&1) || {
      why="$url: ${answer%"$newline"*}"
      return 1
    }
    holds "${answer##*"$newline"}" "${answer%"$newline"*}"
  }
elif command -v wget >/dev/null 2>&1; then
  attempt() {
    why="$url does not answer"
    answer=$(wget -S -T 5 -O /dev/null "$url" 2>&1 </dev/null)
    case $answer in *' HTTP/1.'[01]' '*) ;; *) return 1 ;; esac
    answer=${answer#*' HTTP/1.'[01]' '}
    page=
    [ -z "$needle" ] || page=$(wget -q -T 5 -O - "$url" 2>/dev/null </dev/null)
    holds "${answer%%[!0-9]*}" "$page"
  }
elif command -v python3 >/dev/null 2>&1; then
  attempt() {
    answer=$(python3 -I -c 'import http.client, sys, urllib.parse
url = urllib.parse.urlsplit(sys.argv[1])
kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
link = kind(url.netloc, timeout=5)
link.request("GET", (url.path or "/") + ("?" + url.query if url.query else ""))
answer = link.getresponse()
body = answer.read(1000000)
sys.stdout.buffer.write(str(answer.status).encode() + b"\n" + body)' "$url" 2>&1) || {
      why="$url: ${answer##*"$newline"}"
      return 1
    }
    holds "${answer%%"$newline"*}" "${answer#*"$newline"}"
  }
else
  fail 'there is neither curl nor wget nor python3 on this node to ask for a page with'
fi
# Whole seconds of the node's own uptime: no process is started to read it, and nobody can set it back.
read -r clock rest </proc/uptime
end=$((${clock%%.*} + within + 1))
until attempt "$@"; do
  read -r clock rest </proc/uptime
  [ "${clock%%.*}" -lt "$end" ] || fail "$why (asked for $within s)"
  sleep 0.2
done
done_ unchanged
