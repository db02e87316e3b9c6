"""Join tokens as people copy them: where the cluster is, how to know it, and a secret that is good once.

`hamgrj1_PUBLIC.SECRET`: the public part is JSON in base64url and says where to go and which authority to
believe, so that who joins knows the cluster before it says anything; the log has the secret's hash only.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PREFIX = "hamgrj1_"
TOKEN_CHARS_MAX = 4_096
SECRET_CHARS_MIN = 32
URLS_MAX = 16


class BadToken(ValueError):
    """This is no join token; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What a join token says.

    Attributes:
        authority: SHA-256 of the certificate of the cluster's authority, in hexadecimal.
        joins_as: `replica` or `node`.
        urls: Base URLs of the replicas' APIs.
    """

    authority: str
    joins_as: str
    urls: Sequence[str]
    secret: str = field(default="", repr=False)

    @property
    def sha256(self) -> str:
        """How the log knows the secret."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def public(self) -> str:
        """Return the token without its secret, to which `.SECRET` is to be added."""
        said = {"authority": self.authority, "for": self.joins_as, "urls": list(self.urls)}
        text = json.dumps(said, separators=(",", ":")).encode()
        return PREFIX + base64.urlsafe_b64encode(text).decode("ascii").rstrip("=")

    def token(self) -> str:
        """Return the whole token."""
        return f"{self.public()}.{self.secret}"


def read(token: str) -> Invitation:
    """Return what a token says, or raise `BadToken`."""
    text = token.strip()
    if not text.startswith(PREFIX) or len(text) > TOKEN_CHARS_MAX or not text.isascii():
        raise BadToken(f"this is not a join token; one begins with {PREFIX} and is a single word")
    public, _, secret = text.removeprefix(PREFIX).partition(".")
    try:
        said = json.loads(base64.urlsafe_b64decode(public + "=" * (-len(public) % 4)))
    except (binascii.Error, ValueError) as error:
        raise BadToken("the join token was damaged when it was copied; copy all of it") from error
    match said:
        case {"authority": str(authority), "for": str(joins_as), "urls": [*urls]}:
            if (
                len(authority) == 64
                and len(secret) >= SECRET_CHARS_MIN
                and 0 < len(urls) <= URLS_MAX
                and all(isinstance(url, str) and urlsplit(url).scheme in ("http", "https") for url in urls)
            ):
                return Invitation(authority=authority, joins_as=joins_as, urls=tuple(urls), secret=secret)
    raise BadToken("the join token lacks a part; copy all of it, or have another one made")
