"""Reads the runner's answers: standard output and exit status in, values and errors of `backends.ports` out.

1. Nothing is believed that the runner did not say: no header, a cut body or an unknown exit status is
   `CommandFailed`, never a guess about the attempt.
2. A login shell may print before the runner does; the answer begins at the first line that is a header.
3. Every size is checked before it is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from backends.ports import (
    AttemptState,
    AttemptStatus,
    CommandFailed,
    LogChunk,
    NodeBusy,
    ProbeReport,
    ScriptMismatch,
    StaleEpoch,
)

HEADER = b"hamgr-runner 1 "
NOISE_BYTES_MAX = 64 * 1024
"""How much a login shell may print before the header."""
HEADER_BYTES_MAX = 1024
BODY_BYTES_MAX = 16 * 1024 * 1024
"""The runner keeps no more of an attempt's output than this."""
FACT_VALUE_CHARS_MAX = 256

_NUMBER_DIGITS_MAX = 18
_NOT_INSTALLED_EXITS = (2, 126, 127)
_INTEGER_FACTS = frozenset({"cpus", "memory_mb"})
_FACTS = ("hostname", "os", "kernel", "arch", "cpus", "memory_mb", "boot_id", "systemd", "missing")
_WHAT_TO_DO = {
    "state-not-writable": "its disk is full or read-only, or /var/lib/hamgr is not ours",
    "fence-not-stored": "the disk of the node is full or failing",
    "record-not-stored": "the disk of the node is full or failing; nothing was started",
    "script-not-stored": "the disk of the node is full or failing; nothing was started",
    "upload-cut-short": "the connection ended while the script was sent; nothing was started",
    "fence-damaged": "/var/lib/hamgr/fence on the node is damaged; look at it before you remove it",
    "lock-timeout": "another order has kept the node busy for 30 s; is its disk hanging?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The header's fields, and the bytes that came after its line."""

    fields: Mapping[str, str]
    rest: bytes

    def number(self, name: str) -> int | None:
        """Return a field as a number; None where it is absent or is not a plain number."""
        text = self.fields.get(name, "")
        if not (text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS_MAX):
            return None
        return int(text)


def split(stdout: bytes) -> Answer | None:
    """Find the header; None while (or where) there is no complete one in `stdout`."""
    start = 0 if stdout.startswith(HEADER) else stdout.find(b"\n" + HEADER, 0, NOISE_BYTES_MAX) + 1
    if start == 0 and not stdout.startswith(HEADER):
        return None
    end = stdout.find(b"\n", start, start + HEADER_BYTES_MAX)
    if end < 0:
        return None
    words = stdout[start + len(HEADER) : end].decode("ascii", "replace").split(" ")
    fields = dict(word.split("=", 1) for word in words if "=" in word)
    return Answer(fields=fields, rest=stdout[end + 1 :])


def is_not_installed(stdout: bytes, exit_status: int) -> bool:
    """Tell whether the shell found no runner of this version; then nothing happened at all."""
    return exit_status in _NOT_INSTALLED_EXITS and split(stdout) is None


def parse_installed(host: str, stdout: bytes, exit_status: int) -> None:
    """Raises: CommandFailed: the script is not on the node, or not whole."""
    answer = _accepted(host, stdout, exit_status)
    if answer.fields.get("state") != "installed":
        raise _misunderstood(host, "its answer to the upload")


def parse_fence(host: str, stdout: bytes, exit_status: int, *, epoch: int) -> None:
    """Return where `epoch` is the node's fence now.

    Raises: CommandFailed, StaleEpoch.
    """
    answer = _accepted(host, stdout, exit_status)
    if answer.number("fence") != epoch:
        raise _misunderstood(host, "its answer to the fence")


def parse_status(host: str, stdout: bytes, exit_status: int) -> AttemptStatus:
    """Read the answer to status, run or kill.

    Raises: CommandFailed, StaleEpoch; to run also NodeBusy, ScriptMismatch.
    """
    answer = _accepted(host, stdout, exit_status)
    try:
        state = AttemptState(answer.fields.get("state", ""))
    except ValueError:
        raise _misunderstood(host, "its word for the state") from None
    exit_code = answer.number("rc")
    size = answer.number("size")
    if size is None or (state is AttemptState.DONE) != (exit_code is not None):
        raise _misunderstood(host, "the figures of its answer")
    return AttemptStatus(
        state=state,
        exit_code=exit_code,
        adopted=answer.fields.get("adopted") == "1",
        output_bytes=size,
        output=_body(host, answer),
        reason=answer.fields.get("reason", "").replace("-", " "),
    )


def parse_log(host: str, stdout: bytes, exit_status: int) -> LogChunk:
    """Read the answer to log.

    Raises: CommandFailed: also where there is no such attempt.
    """
    answer = _accepted(host, stdout, exit_status)
    offset = answer.number("offset")
    if answer.fields.get("state") == AttemptState.ABSENT:
        raise CommandFailed(host, "knows no such attempt")
    if offset is None:
        raise _misunderstood(host, "the figures of its answer")
    return LogChunk(
        offset=offset,
        data=_body(host, answer),
        complete=answer.fields.get("complete") == "1",
        output_bytes=answer.number("size") or 0,
    )


def parse_follow_header(host: str, answer: Answer) -> int:
    """Return the offset of the first byte after the header that `split` found in a follow's output.

    What comes after it is raw output; the attempt is over when the stream ends with exit status 0.

    Raises: CommandFailed: also where there is no such attempt.
    """
    _raise_refusal(host, answer)
    offset = answer.number("offset")
    if answer.fields.get("state") == AttemptState.ABSENT:
        raise CommandFailed(host, "knows no such attempt")
    if offset is None:
        raise _misunderstood(host, "the figures of its answer")
    return offset


def parse_facts(host: str, stdout: bytes, exit_status: int, *, host_key: str) -> ProbeReport:
    """Read the answer to facts; `host_key` is what the connection has proved.

    Raises: CommandFailed: not a machine that we can manage, or it did not finish its answer.
    """
    answer = _accepted(host, stdout, exit_status)
    lines = answer.rest.decode("utf-8", "replace").split("\n")
    found = {
        key: _printable(value) for key, equals, value in (line.partition("=") for line in lines) if equals
    }
    epoch = found.get("epoch", "")
    if "missing" not in found or not epoch.isdigit() or len(epoch) > _NUMBER_DIGITS_MAX:
        raise _misunderstood(host, "its facts")  # `missing` is the last line: without it the answer was cut
    if not found.get("machine_id"):
        raise CommandFailed(host, "has no /etc/machine-id; systemd-machine-id-setup makes one")
    facts: dict[str, str | int | bool] = {}
    for key in _FACTS:
        value = found.get(key, "")
        if key in _INTEGER_FACTS:
            facts[key] = int(value) if value.isdigit() and len(value) <= _NUMBER_DIGITS_MAX else 0
        elif key == "systemd":
            facts[key] = value == "true"
        elif value or key != "missing":
            facts[key] = value
    return ProbeReport(
        host_key=host_key,
        machine_id=found["machine_id"],
        hostname=found.get("hostname", ""),
        epoch=int(epoch),
        facts=facts,
    )


def _accepted(host: str, stdout: bytes, exit_status: int) -> Answer:
    answer = split(stdout)
    if answer is None:
        raise CommandFailed(
            host, f"did not answer like a runner (exit status {exit_status}); is its shell a POSIX sh?"
        )
    if exit_status != 0:
        _raise_refusal(host, answer, exit_status)
    return answer


def _raise_refusal(host: str, answer: Answer, exit_status: int = 0) -> None:
    """Raise what a header without a state means; a follow shows no exit status until it is over."""
    fence = answer.number("fence")
    holder = answer.fields.get("holder")
    reason = answer.fields.get("reason", "")
    if exit_status == 75 and fence is not None:
        raise StaleEpoch(host, fence)
    if exit_status == 76 and holder is not None:
        raise NodeBusy(host, holder or "another attempt")
    if exit_status == 77:
        raise ScriptMismatch(host, "has this attempt already, with another script; it was left alone")
    if exit_status == 69 or reason.startswith("missing-"):
        tools = reason.removeprefix("missing-").replace(",", ", ")
        raise CommandFailed(host, f"has no {tools}; install it (flock and setsid are in util-linux)")
    if exit_status == 0 and answer.fields.get("state"):
        return
    sentence = _WHAT_TO_DO.get(reason, f"exit status {exit_status}")
    raise CommandFailed(host, f"refused: {reason.replace('-', ' ') or 'no reason given'} ({sentence})")


def _body(host: str, answer: Answer) -> bytes:
    size = answer.number("body")
    if size is None or size > BODY_BYTES_MAX:
        raise _misunderstood(host, "the size of its answer")
    if len(answer.rest) < size:
        raise _misunderstood(host, f"its answer, of which only {len(answer.rest)} of {size} bytes came")
    return answer.rest[:size]


def _misunderstood(host: str, what: str) -> CommandFailed:
    return CommandFailed(host, f"sent something that is not a runner's answer: {what}")


def _printable(value: str) -> str:
    return "".join(char for char in value[:FACT_VALUE_CHARS_MAX] if char.isprintable())
