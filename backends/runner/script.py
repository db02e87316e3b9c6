"""The script that hamgr puts on every node: its text, its version, and the words of every verb.

1. Everything that varies in a command line is a word of `[A-Za-z0-9_.-]`, which no shell reads as anything
   but itself; `ValueError` where that cannot be kept.
2. A version is a digest of the text: equal names are equal scripts, and replicas of two versions of hamgr
   can work with one node without disturbing each other.
"""

import hashlib
import re
from importlib import resources

from backends.ports import SCRIPT_BYTES_MAX, AttemptKey

_SAFE_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")
_EPOCH_MAX = 10**18 - 1
_ATTEMPT_MAX = 10**9 - 1
_WAIT_S_MAX = 999_999.0
_FOLLOW_OFFSET_MAX = 10**12 - 1
_LOG_BYTES_MAX = 10**8 - 1


def _read_text() -> bytes:
    parts = [
        part for part in resources.files(__package__).joinpath("node").iterdir() if part.name.endswith(".sh")
    ]
    return b"\n".join(part.read_bytes() for part in sorted(parts, key=lambda part: part.name))


TEXT = _read_text()
"""The whole script; `sh -s facts` reads it from standard input as well."""
SHA256 = hashlib.sha256(TEXT).hexdigest()
VERSION = SHA256[:12]
STATE_DIR = "${HAMGR_ROOT:-}/var/lib/hamgr"
"""For the node's shell to expand, inside double quotes: HAMGR_ROOT is set on nodes that live in a folder."""
REMOTE_PATH = f"{STATE_DIR}/runner-{VERSION}"

FACTS_COMMAND = "sh -s facts"
"""With `TEXT` on standard input: says who the machine is, and creates nothing on it."""


def command_line(words: list[str]) -> str:
    """Return the command line that calls the installed script with `words`.

    Where the script is not installed the answer has no header and the exit status is 2 or 127, by shell:
    see `answers.is_not_installed`.
    """
    for word in words:
        if not _SAFE_WORD.match(word):
            raise ValueError(f"not a plain word: {word!r}")
    return f'exec sh "{REMOTE_PATH}" {" ".join(words)}'


def install_command_line() -> str:
    """Return the command line that installs the script, given `TEXT` on standard input.

    May be run by several callers at once and as often as they like. Exit status 0 and the answer
    `state=installed` say that the whole text is on the disk under `REMOTE_PATH`; otherwise nothing changed.
    """
    return (
        f'd="{STATE_DIR}"; t="$d/upload-$$"; (umask 022; mkdir -p "${{d%/*}}") && umask 077 && mkdir -p "$d"'
        ' && cat >"$t" && case "$(sha256sum <"$t")" in'
        f' {SHA256}*) sync "$t" && mv -f "$t" "{REMOTE_PATH}" && sync "$d"'
        " && echo hamgr-runner 1 state=installed ;;"
        ' *) rm -f "$t"; echo hamgr-runner 1 reason=upload-damaged; exit 74 ;; esac'
    )


def fence_words(epoch: int, job: str) -> list[str]:
    return ["fence", _number(epoch, _EPOCH_MAX), _name(job)]


def status_words(epoch: int, key: AttemptKey) -> list[str]:
    return ["status", _number(epoch, _EPOCH_MAX), *_key_words(key)]


def run_words(
    epoch: int, key: AttemptKey, script: bytes, *, wait_s: float, output_bytes_max: int
) -> list[str]:
    """Return the words that start or adopt an attempt; `script` itself goes to standard input, unchanged."""
    if len(script) > SCRIPT_BYTES_MAX:
        raise ValueError(f"the script has {len(script)} bytes, more than {SCRIPT_BYTES_MAX}")
    wait = f"{min(max(wait_s, 0.0), _WAIT_S_MAX):.3f}"
    digest = hashlib.sha256(script).hexdigest()
    limits = [wait, _number(output_bytes_max, _LOG_BYTES_MAX), str(len(script)), digest]
    return ["run", _number(epoch, _EPOCH_MAX), *_key_words(key), *limits]


def kill_words(epoch: int, key: AttemptKey) -> list[str]:
    return ["kill", _number(epoch, _EPOCH_MAX), *_key_words(key)]


def log_words(key: AttemptKey, *, offset: int, bytes_max: int) -> list[str]:
    return [
        "log",
        *_key_words(key),
        _number(offset, _FOLLOW_OFFSET_MAX),
        _number(min(bytes_max, _LOG_BYTES_MAX), _LOG_BYTES_MAX),
    ]


def follow_words(key: AttemptKey, *, offset: int) -> list[str]:
    return ["follow", *_key_words(key), _number(offset, _FOLLOW_OFFSET_MAX)]


def _key_words(key: AttemptKey) -> list[str]:
    return [_name(key.job), _name(key.step), _number(key.attempt, _ATTEMPT_MAX)]


def _name(word: str) -> str:
    if not _NAME.match(word):
        raise ValueError(f"not a name that a node accepts: {word!r}")
    return word


def _number(value: int, maximum: int) -> str:
    if not 0 <= value <= maximum:
        raise ValueError(f"{value} is not between 0 and {maximum}")
    return str(value)
