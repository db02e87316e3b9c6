"""The only place where a value becomes part of a shell script.

1. A value is one quoted word, or the body of a here-document whose delimiter is proven absent from it.
2. NUL cannot be said in shell and is refused; every other byte arrives as it is.
3. Scripts need a POSIX shell and coreutils or busybox; base64 only for content that is not text.
"""

import base64
import shlex


class NotSayable(ValueError):
    """A value has a NUL, which no shell word can carry."""


def quote(value: str) -> str:
    """Return `value` as one word of shell."""
    if "\0" in value:
        raise NotSayable("has a NUL character, which a shell cannot carry")
    return shlex.quote(value)


def quote_all(values: list[str]) -> str:
    return " ".join(quote(value) for value in values)


def write_to(target: str, data: bytes) -> str:
    """Return shell that creates the file named by the shell word `target` with exactly `data` in it.

    It calls `fail` when that does not succeed.
    """
    otherwise = f'|| fail "cannot write {target[1:-1]}"'
    if not data:
        return f"true >{target} {otherwise}\n"
    reader, body, delimiter = _document(data)
    return f"{reader} >{target} <<'{delimiter}' {otherwise}\n{body}{delimiter}\n"


def function(name: str, data: bytes) -> str:
    """Return shell that defines a function which prints exactly `data`, without a file."""
    if not data:
        return f"{name}() {{ :; }}\n"
    reader, body, delimiter = _document(data)
    return f"{name}() {{\n{reader} <<'{delimiter}'\n{body}{delimiter}\n}}\n"


def _document(data: bytes) -> tuple[str, str, str]:
    """Return the command that reads a here-document with `data` in it, its body, and its delimiter."""
    if is_text(data):
        # `cat` where the newline that ends the here-document is the data's own; otherwise stop before it.
        reader = "cat" if data.endswith(b"\n") else f"head -c {len(data)}"
        body = data.decode()
    else:
        reader = "base64 -d"
        body = base64.encodebytes(data).decode()
    body = body if body.endswith("\n") else body + "\n"
    return reader, body, _delimiter(body)


def _delimiter(body: str) -> str:
    """Return a word that is no line of `body`; equal bodies get the same one."""
    lines = set(body.split("\n"))
    return next(word for word in map("END_{}".format, range(len(lines) + 1)) if word not in lines)


def is_text(data: bytes) -> bool:
    """Say whether a here-document can carry `data` as it is."""
    if b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


PRELUDE = """\
set -u
umask 022
root=${HAMGR_ROOT:-}
state=${HAMGR_STATE:-$root/var/lib/hamgr}
fail() { printf 'hamgr: %s\\n' "$*" >&2; exit 1; }
done_() { printf 'hamgr: %s\\n' "$1"; exit 0; }
"""
"""What every script begins with; `root` is empty on a host and a folder for a practice node."""
