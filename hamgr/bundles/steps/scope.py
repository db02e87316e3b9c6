"""What a step may know while it is compiled for a node, and the rules for the values it is given."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from hamgr.bundles import secrets
from hamgr.bundles.bundle import BundleFile
from hamgr.bundles.problems import RenderError
from hamgr.bundles.templates import RESERVED, Templates, is_template
from hamgr.bundles.yaml import Document, Path
from statemachine.words import Value

PATH_BYTES_MAX = 4000
PART_BYTES_MAX = 200
"""Of one part of a path; leaves room for the name of the temporary file beside it."""

_OWNER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}|[0-9]{1,10}")
_UNIT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9:_.@-]{0,127}")


class FileUse(NamedTuple):
    """A file of the component that a step refers to at `path` (below the step)."""

    path: Path
    name: str
    template: bool
    script: bool = False


class Complaint(NamedTuple):
    path: Path
    message: str
    hint: str = ""


Rule = Callable[[str], str | None]
"""Says in a sentence what is wrong with a value, or None."""


def absolute_path(value: str) -> str | None:
    """A path on the node that means the same to everybody and stays where it says."""
    if not value.startswith("/") or value == "/":
        return "must be an absolute path"
    if any(not letter.isprintable() for letter in value):
        return "has a control character"
    parts = value[1:].split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "has `//`, `.` or `..` in it, or ends with `/`"
    if len(value.encode()) > PATH_BYTES_MAX or any(len(part.encode()) > PART_BYTES_MAX for part in parts):
        return f"is too long: {PART_BYTES_MAX} bytes for each part"
    return None


def owner(value: str) -> str | None:
    return None if _OWNER.fullmatch(value) else "must be the name or the number of a user or group"


def unit(value: str) -> str | None:
    return None if _UNIT.fullmatch(value) else "must be the name of a service: letters, digits and `:_.@-`"


def port(value: str) -> str | None:
    number = int(value) if re.fullmatch(r"[0-9]{1,5}", value) else 0
    return None if 1 <= number <= 65_535 else "must be a port from 1 to 65535"


def host(value: str) -> str | None:
    return (
        None
        if re.fullmatch(r"[A-Za-z0-9:][A-Za-z0-9.:_-]{0,252}", value)
        else "must be a host name or address"
    )


def web_address(value: str) -> str | None:
    if not re.fullmatch(r"https?://[!-~]{1,2000}", value):
        return "must begin with http:// or https:// and have no spaces"
    return None


def sha256(value: str) -> str | None:
    return None if re.fullmatch(r"[0-9a-f]{64}", value) else "must be 64 hexadecimal digits in lower case"


def program(value: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z0-9_./+][A-Za-z0-9_./+-]*", value):
        return "must be the name or path of a program, without options"
    return None


def sayable(value: str) -> str | None:
    return "has a NUL character" if "\0" in value else None


def literal(path: Path, value: object, rule: Rule) -> list[Complaint]:
    """Apply `rule` now if the value is no template."""
    text = str(value)
    if is_template(text):
        return []
    fault = rule(text)
    return [] if fault is None else [Complaint(path, f"`{_key(path)}` {fault}")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One step, for one node.

    Attributes:
        path: Of the step in `document`.
        files: Of the component, by their name below its directory.
        context: What templates see.
        secrets: Names of secret variables.
    """

    node_name: str
    component: str
    verb: str
    step: str
    document: Document
    path: Path
    files: Mapping[str, BundleFile] = field(repr=False)
    templates: Templates = field(repr=False)
    context: Mapping[str, Any] = field(repr=False)
    variables: Mapping[str, Value] = field(repr=False)
    secrets: tuple[str, ...] = ()

    def text(self, path: Path, value: object, rule: Rule = sayable) -> str:
        """Render the text at `path` (below the step) and hold it against `rule`; raises RenderError."""
        try:
            text = self.templates.text(self.document.file, str(value), self.context)
        except RenderError as error:
            if error.file != self.document.file:
                raise
            line = self.document.line((*self.path, *path), error.line)
            raise RenderError(error.file, line, error.message) from error
        fault = rule(text)
        if fault is not None:
            raise self.error(path, f"`{_key(path)}` {fault}; it is {text[:80]!r}")
        return text

    def file(self, path: Path, name: str, *, template: bool) -> bytes:
        """Return a file of the component, rendered if it is a template; raises RenderError."""
        if template:
            return self.templates.file(name, self.context).encode()
        found = self.files.get(name)
        if found is None:
            raise self.error(path, f"there is no file `{name}` in the component")
        return found.data

    def holds(self, path: Path, expression: str) -> bool:
        """Return whether the expression at `path` (below the step) is true; raises RenderError."""
        try:
            return self.templates.truth(self.document.file, expression, self.context)
        except RenderError as error:
            raise self.error(path, f"`{_key(path)}`: {error.message}") from error

    def concealed(self, data: bytes, render: Callable[["Scope"], bytes]) -> bytes | None:
        """Return what `render` made of this scope without secrets, line for line; None where it cannot be."""
        found = secrets.values(self.variables, self.secrets)
        if not self.secrets or not found:
            return data
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return None if any(secret.encode() in data for secret in found) else data
        hidden = secrets.hidden(self.variables, self.secrets)
        own = {name: self.context[name] for name in RESERVED}
        other = replace(self, variables=hidden, context={**hidden, **own, "vars": hidden})
        try:
            shown = secrets.conceal(text, render(other).decode(), found)
        except RenderError:
            return None
        return None if shown is None else shown.encode()

    def error(self, path: Path, message: str) -> RenderError:
        return RenderError(self.document.file, self.document.line((*self.path, *path), 0), message)


def _key(path: Path) -> str:
    return next((part for part in reversed(path) if isinstance(part, str)), "value")
