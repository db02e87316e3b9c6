"""Printing a job's log: whole lines, none twice, whatever became of the server in between.

A piece's cursor is (attempt, offset), in bytes of what was printed. Servers may cut the same output into
other pieces, so what is known already is cut off byte by byte, and text is decoded only afterwards.
"""

import base64
import codecs
import json
import sys
from collections import deque
from typing import Any

import click

from cli.client import Client
from cli.output import clean, note
from cli.stream import follow as read_stream

Attempt = tuple[str, str, int]


def print_log(client: Client, path: str, query: dict[str, str], *, tail: int | None, fmt: str) -> None:
    """Print the log to standard output; with `-o json` one object a line.

    Args:
        tail: Only so many of each node's lines, the last ones; None for all.
    """
    printer = _Printer(tail)
    seen: dict[Attempt, int] = {}
    for message in read_stream(client, path, query):
        if message.kind != "log":
            continue
        line = _new_part(message.data, seen)
        if line is None:
            continue
        if fmt == "json":
            click.echo(json.dumps(line))
        else:
            printer.take(line)
    printer.end()


def _new_part(line: dict[str, Any], seen: dict[Attempt, int]) -> dict[str, Any] | None:
    """Return what of a piece was not told yet; None when all of it was."""
    attempt = (line["node"], line["step"], line["attempt"])
    end, known = line["offset"] + line["bytes"], seen.get(attempt, 0)
    if end <= known:
        return None
    seen[attempt] = end
    cut = known - line["offset"]
    if cut <= 0:
        return line
    data = _raw(line)[cut:]
    text = data.decode("utf-8", "replace")
    exact = {} if text.encode() == data else {"raw": base64.b64encode(data).decode()}
    rest = {key: value for key, value in line.items() if key != "raw"}
    return rest | {"offset": known, "bytes": end - known, "data": text} | exact


def _raw(line: dict[str, Any]) -> bytes:
    return base64.b64decode(line["raw"]) if "raw" in line else line["data"].encode()


class _Printer:
    """Puts pieces together to lines."""

    def __init__(self, tail: int | None) -> None:
        self._tail = tail
        self._last: dict[str, deque[str]] = {}
        self._decoders: dict[Attempt, codecs.IncrementalDecoder] = {}
        self._rest: dict[Attempt, str] = {}

    def take(self, line: dict[str, Any]) -> None:
        attempt = (line["node"], line["step"], line["attempt"])
        data = _raw(line)
        if line["bytes"] > len(data):
            self._whole(attempt)
            self._put(attempt, f"[{line['bytes'] - len(data)} bytes are left out here]")
            return
        if line["note"]:
            note(f"{clean(line['node'])}: {clean(line['note'])}")
        decoder = self._decoders.setdefault(attempt, codecs.getincrementaldecoder("utf-8")("replace"))
        *whole, self._rest[attempt] = (self._rest.get(attempt, "") + decoder.decode(data)).split("\n")
        for text in whole:
            self._put(attempt, text)

    def _whole(self, attempt: Attempt) -> None:
        """Print what is left of an unfinished line."""
        text = self._rest.pop(attempt, "")
        if attempt in self._decoders:
            text += self._decoders.pop(attempt).decode(b"", final=True)
        if text:
            self._put(attempt, text)

    def end(self) -> None:
        for attempt in tuple(self._rest):
            self._whole(attempt)
        for lines in self._last.values():
            for text in lines:
                click.echo(text)

    def _put(self, attempt: Attempt, text: str) -> None:
        # A pipe gets what the node printed; a terminal gets nothing that could move its cursor.
        shown = clean(text) if sys.stdout.isatty() else text
        told = f"{clean(attempt[0])} {clean(attempt[1])} | {shown}"
        if self._tail is None:
            click.echo(told)
        else:
            self._last.setdefault(attempt[0], deque(maxlen=self._tail)).append(told)
