"""Who may call the API: the token file, one line for each token.

1. A line is `NAME TOKEN`, or only a token, whose holder is called `operator`. In place of a token there may
   be `sha256:HEX`, its hash, so that nobody can learn it from the file. The name is the actor in commands,
   history and approvals. Empty lines and lines that begin with `#` say nothing.
2. A name may stand before several tokens, so that one can be replaced by another; a token stands once.
3. The first token is also what this replica shows to the others, so the file is the same on all of them, and
   that one is there itself.
4. Only hashes are kept for comparison, and whether one is right takes equally long for all (see `api.auth`).
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hamgr.config import SECRET_CHARS_MIN, ConfigError, secret

OPERATOR = "operator"
"""The actor where the file does not name one."""
HASHED = "sha256:"
HASH = re.compile(r"sha256:[0-9a-f]{64}\Z")
TOKENS_MAX = 64
TOKEN_CHARS_MAX = 512
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What one caller shows."""

    actor: str
    secret: str = field(repr=False)

    @property
    def hashed(self) -> bool:
        """Only the hash is known."""
        return self.secret.startswith(HASHED)

    @property
    def sha256(self) -> bytes:
        if self.hashed:
            return bytes.fromhex(self.secret.removeprefix(HASHED))
        return hashlib.sha256(self.secret.encode()).digest()


def load(path: Path) -> Sequence[Token]:
    """Read the token file; at least one token is there.

    Raises:
        ConfigError: It cannot be read, others may read it, or a line is none; the message names the line.
    """
    found: list[Token] = []
    for number, line in enumerate(secret(path).splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) > 2:
            raise ConfigError(f"{path}:{number}: has {len(words)} words; write NAME TOKEN, or only a token")
        token = Token(actor=words[0] if len(words) == 2 else OPERATOR, secret=words[-1])
        if problem := _problem(token, found):
            raise ConfigError(f"{path}:{number}: {problem}")
        found.append(token)
    if not found:
        raise ConfigError(f"{path}: has no token; make one with: openssl rand -hex 32")
    if found[0].hashed:
        raise ConfigError(f"{path}: the first token is shown to other replicas, so its hash does not do")
    return found


def _problem(token: Token, others: Sequence[Token]) -> str:
    if not NAME.match(token.actor):
        return f"{token.actor!r} cannot be a name; use lower-case letters, digits, '.', '_', '@' and '-'"
    if not SECRET_CHARS_MIN <= len(token.secret) <= TOKEN_CHARS_MAX or not token.secret.isascii():
        return (
            f"the token of {token.actor} is no text of {SECRET_CHARS_MIN} to {TOKEN_CHARS_MAX} characters;"
            " make one with: openssl rand -hex 32"
        )
    if token.hashed and not HASH.match(token.secret):
        return f"the token of {token.actor} is no SHA-256; write sha256: and 64 hexadecimal digits"
    if any(other.sha256 == token.sha256 for other in others):
        return f"the token of {token.actor} stands in the file twice; each person has their own"
    if len(others) >= TOKENS_MAX:
        return f"more than {TOKENS_MAX} tokens are too many"
    return ""
