"""The shell of the checks: each defines `attempt`, which holds (0) or sets `why`.

None of it is made from values; those come before it, as shell variables.
"""

ONCE = """\
attempt "$@" || fail "$why"
done_ unchanged
"""

UNTIL = """\
# Whole seconds of the node's own uptime: no process is started to read it, and nobody can set it back.
read -r clock rest </proc/uptime
end=$((${clock%%.*} + within + 1))
until attempt "$@"; do
  read -r clock rest </proc/uptime
  [ "${clock%%.*}" -lt "$end" ] || fail "$why (asked for $within s)"
  sleep 0.2
done
done_ unchanged
"""

NOW = """\
if attempt "$@"; then
  printf '%s\\n' 'it holds now'
else
  printf 'it does not hold now: %s\\n' "$why" | head -c 4096
  printf '\\n'
fi
done_ unchanged
"""

COMMAND = """\
# `env` starts programs only: no word of the command can name a function or a keyword of this shell.
attempt() {
  output=$(env "$@" 2>&1 </dev/null) && return
  why="$1 ended with exit status $?: $output"
  return 1
}
"""

FILE = """\
attempt() {
  why="$path is not there"
  [ -e "$target" ] || return 1
  [ -n "$sum" ] || return 0
  why="$path cannot be read"
  have=$(sha256sum <"$target") || return 1
  why="$path has other content"
  [ "${have%% *}" = "$sum" ]
}
"""

TCP = """\
why="nothing accepts connections at $host port $port"
if command -v bash >/dev/null 2>&1; then
  attempt() { timeout 5 bash -c ': <>"/dev/tcp/$0/$1"' "$host" "$port" 2>/dev/null; }
elif command -v python3 >/dev/null 2>&1; then
  attempt() {
    python3 -I -S -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()' "$host" "$port" 2>/dev/null
  }
elif command -v nc >/dev/null 2>&1; then
  attempt() { nc -z -w 5 "$host" "$port" >/dev/null 2>&1 </dev/null; }
else
  fail 'there is neither bash nor python3 nor nc on this node to try a connection with'
fi
"""

HTTP = """\
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
    answer=$(curl -q -gsS --noproxy '*' -m 5 --max-filesize 1000000 \\
      -w '\\n%{http_code}' --url "$url" 2>&1) || {
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
sys.stdout.buffer.write(str(answer.status).encode() + b"\\n" + body)' "$url" 2>&1) || {
      why="$url: ${answer##*"$newline"}"
      return 1
    }
    holds "${answer%%"$newline"*}" "${answer#*"$newline"}"
  }
else
  fail 'there is neither curl nor wget nor python3 on this node to ask for a page with'
fi
"""
