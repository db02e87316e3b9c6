"""What a `file` step would do: a unified diff, and what would become of the file's mode and owner.

1. Content that is not text, or is large, is told by its size and SHA-256 alone.
2. A file with secrets is shown with `***` for them, and without the lines that would go: those may hold
   secrets that nobody here knows any more.
3. The output is bounded: what is left out is said to be.
"""

import hashlib

from hamgr.bundles.shell import function, is_text

DIFF_BYTES_MAX = 56 * 1024
"""Leaves room in a preview for the sentences around the diff."""
OLD_BYTES_MAX = 4 * 1024 * 1024
"""A larger file on the node is not compared line by line."""


def present(data: bytes, shown: bytes | None) -> str:
    """Return shell that compares `data` with what is there; target and attributes are already set.

    Args:
        shown: The content without secrets, as many lines; None when it cannot be shown.
    """
    secret = shown != data
    text = is_text(data) and shown is not None
    lines = [
        f"sum={hashlib.sha256(data).hexdigest()} size={len(data)} secret={'yes' if secret else ''}\n",
        f"text={'yes' if text else 'no'} left={DIFF_BYTES_MAX} old_max={OLD_BYTES_MAX} count=0\n",
    ]
    if text and shown is not None:
        lines.append(function("content", data))
        if secret:
            kept = shown if shown.endswith(b"\n") else shown + b"\n"
            lines.append(f"count={kept.count(chr(10).encode())}\n" + function("shown", kept))
        else:
            lines.append("shown() { :; }\n")
    return "".join([*lines, _DIFF if text else "", _PRESENT])


_DIFF = """\
difference() {
  { shown; content | diff -u -L "$path" -L "$path" "$old" -; } |
    LC_ALL=C awk -v left="$left" -v count="$count" -v secret="$secret" '
      function show(line) {
        left -= length(line) + 1
        if (left < 0) { print "[...] the rest of the diff is left out"; exit }
        print line
      }
      NR <= count { kept[NR] = $0; next }
      /^@@ / { split($3, at, ","); place = substr(at[1], 2) + 0; body = 1; show($0); next }
      !body || !secret { show($0); next }
      /^-/ { show("-*** (not shown: this file has secrets)"); next }
      /^[+ ]/ { show(substr($0, 1, 1) kept[place++]); next }
      { show($0) }'
}
"""

_PRESENT = """\
would() { printf 'would %s\\n' "$*"; changed='would change'; }
changed=unchanged old=/dev/null
[ ! -d "$target" ] || fail "$path is a directory"
if [ -L "$target" ]; then
  would "replace the symbolic link $path by a file with mode and owner $wanted"
elif [ ! -e "$target" ]; then
  would "create $path with mode and owner $wanted"
elif [ ! -f "$target" ]; then
  would "replace $path, which is no regular file, by one with mode and owner $wanted"
else
  old=$target
  have=$(stat -c "$format" "$target") || fail "cannot look at $path"
  [ "$have" = "$wanted" ] || would "give $path mode and owner $wanted; it has $have"
fi
have=$(sha256sum <"$old") || fail "cannot read $path"
have=${have%% *}
[ "$old" = /dev/null ] || [ "$have" != "$sum" ] || done_ "$changed"
[ "$old" = /dev/null ] || would "change the content of $path"
have_size=$(($(wc -c <"$old")))
if [ "$text" = yes ]; then
  [ "$have_size" -le "$old_max" ] && [ "$(tr -d '\\000' <"$old" | wc -c)" -eq "$have_size" ] || text=no
  command -v diff >/dev/null 2>&1 && command -v awk >/dev/null 2>&1 || text=no
fi
if [ "$text" = yes ]; then
  difference
elif [ -n "$secret" ]; then
  printf 'from %s bytes to %s; not shown, for it has secrets\\n' "$have_size" "$size"
else
  [ "$old" = /dev/null ] || printf 'from %s bytes, sha256 %s\\n' "$have_size" "$have"
  printf 'to %s bytes, sha256 %s\\n' "$size" "$sum"
fi
done_ 'would change'
"""

ABSENT = """\
[ -e "$target" ] || [ -L "$target" ] || done_ unchanged
[ -L "$target" ] || [ ! -d "$target" ] || fail "$path is a directory"
printf 'would remove %s\\n' "$path"
done_ 'would change'
"""
