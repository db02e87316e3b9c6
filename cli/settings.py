"""Which servers, which token, how to print: flags, then the environment, then the context file.

A context is a cluster that people come back to, in `$XDG_CONFIG_HOME/hamgr/config.yaml`:

    current: prod
    contexts:
      prod: {servers: [https://10.0.0.11:7080, https://10.0.0.12:7080], token_file: ~/.config/hamgr/prod}
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli.exits import CliError, Exit

DEFAULT_SERVER = "http://127.0.0.1:7080"
DEFAULT_TIMEOUT_S = 60.0
TRY_TIMEOUT_S = 15.0
"""How long one server may take to answer; more than it waits itself for a quorum."""
FILE_BYTES_MAX = 64 * 1024
FORMATS = ("table", "wide", "json", "yaml", "name")


@dataclass(slots=True)
class Settings:
    """What flags said; what they left out is looked up when it is needed."""

    servers: tuple[str, ...] = ()
    token_file: str = ""
    context: str = ""
    output: str = "table"
    timeout_s: float = DEFAULT_TIMEOUT_S
    debug: bool = False
    _file: Mapping[str, Any] | None = field(default=None, repr=False)

    def urls(self) -> tuple[str, ...]:
        """Return the servers' base URLs, in the order in which they are tried.

        Raises:
            CliError: One of them is not a URL, or the context is not known.
        """
        texts: list[str] = list(self.servers)
        if not texts and os.environ.get("HAMGR_ADDR"):
            texts = os.environ["HAMGR_ADDR"].split(",")
        if not texts:
            found = self._context().get("servers") or [DEFAULT_SERVER]
            texts = [str(text) for text in found] if isinstance(found, list) else [str(found)]
        return tuple(dict.fromkeys(checked_url(text) for text in texts if text.strip()))

    def token(self) -> str:
        """Return the token; empty when there is none, which the server will refuse.

        Raises:
            CliError: Its file cannot be read.
        """
        if self.token_file:
            return _read_token(self.token_file)
        if os.environ.get("HAMGR_TOKEN"):
            return os.environ["HAMGR_TOKEN"].strip()
        path = os.environ.get("HAMGR_TOKEN_FILE") or self._context().get("token_file")
        return _read_token(str(path)) if path else ""

    def _context(self) -> Mapping[str, Any]:
        path = config_home() / "config.yaml"
        wished = self.context or os.environ.get("HAMGR_CONTEXT", "")
        if self._file is None:
            self._file = _read_contexts(path)
        name = wished or str(self._file.get("current") or "")
        contexts = self._file.get("contexts")
        found = contexts.get(name) if isinstance(contexts, dict) else None
        if isinstance(found, dict):
            return found
        if name:
            known = ", ".join(map(str, contexts)) if isinstance(contexts, dict) else "none"
            raise CliError(Exit.USAGE, f"{path}: no context {name!r}", hint=f"it has: {known}")
        return {}


def config_home() -> Path:
    """Return the folder for what the operator wrote."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "hamgr"


def cache_home() -> Path:
    """Return the folder for what can be asked again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hamgr"


def checked_url(text: str) -> str:
    """Return a server's base URL; a bare HOST:PORT is taken as plain HTTP.

    Raises:
        CliError: It is no URL of a server.
    """
    url = text.strip().rstrip("/")
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or not url.isprintable() or " " in url:
        hint = "write for example http://127.0.0.1:7080"
        raise CliError(Exit.USAGE, f"{text!r} is not the URL of a server", hint=hint)
    return url


def _read_token(path: str) -> str:
    try:
        token = Path(path).expanduser().read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CliError(Exit.USAGE, f"{path}: the token cannot be read: {reason}") from error
    if not token.isprintable():
        hint = "a file of several tokens is for the server; make one with yours alone"
        raise CliError(Exit.USAGE, f"{path}: this is not a token; it is one line of text", hint=hint)
    return token.split()[-1] if token else ""  # `NAME TOKEN`, as in the server's file


def _read_contexts(path: Path) -> Mapping[str, Any]:
    try:
        data = path.read_bytes()[:FILE_BYTES_MAX]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CliError(Exit.USAGE, f"{path}: cannot be read: {error.strerror}") from error
    import yaml  # noqa: PLC0415 - 30 ms that only a context file is worth

    try:
        found = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise CliError(Exit.USAGE, f"{path}: not YAML: {error}") from error
    return found if isinstance(found, dict) else {}
