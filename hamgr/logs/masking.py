"""Hides secret values in a stream of bytes, without moving a byte.

1. Every byte of every occurrence of a secret becomes `*`: a masked output is as long as the raw one, so
   offsets mean the same before and after.
2. How the output is cut into chunks changes nothing: what could be the beginning of a secret is held back
   until it is known, and a secret that began in an earlier chunk is masked to its end.
3. Only values of at least `SECRET_BYTES_MIN` bytes are masked: shorter ones are in every other word.
"""

from collections.abc import Iterable

SECRET_BYTES_MIN = 4
SECRETS_MAX = 256
"""Masked for one node, the longest first: each costs a search through the output."""
PART_BYTES_MAX = 4096
"""A longer one is looked for in parts of this size, so that little has to be held back."""
STAR = b"*"


class Mask:
    """What is hidden in one output."""

    def __init__(self, values: Iterable[str | bytes]) -> None:
        """Hide `values`, and each line of those that have several."""
        found: set[bytes] = set()
        for value in values:
            raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            for line in (raw, *(line.strip(b"\r") for line in raw.split(b"\n"))):
                parts = (line[at : at + PART_BYTES_MAX] for at in range(0, len(line), PART_BYTES_MAX))
                found.update(part for part in parts if len(part) >= SECRET_BYTES_MIN)
        self._secrets = sorted(found, key=lambda secret: (-len(secret), secret))[:SECRETS_MAX]
        self.margin_bytes = max(map(len, self._secrets), default=1) - 1
        """How far a secret can reach across a border."""

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def apply(self, data: bytes) -> bytes:
        """Return `data` with the secrets that are whole in it hidden."""
        masked: bytearray | None = None
        for secret in self._secrets:
            place = data.find(secret)
            while place >= 0:
                masked = bytearray(data) if masked is None else masked
                masked[place : place + len(secret)] = STAR * len(secret)
                place = data.find(secret, place + 1)
        return data if masked is None else bytes(masked)

    def text(self, text: str) -> str:
        """Return `text` with the secrets hidden, a star for each byte of them."""
        raw = text.encode("utf-8", "surrogatepass")
        masked = self.apply(raw)
        return text if masked is raw else masked.decode("utf-8", "replace")

    def excerpt(self, data: bytes, *, cut_before: bool, cut_after: bool) -> bytes:
        """As `apply`, for a piece whose borders may cut secrets: what may be a part of one is hidden too."""
        masked = bytearray(self.apply(data))
        if cut_before:
            size = max((_left_over(secret, data) for secret in self._secrets), default=0)
            masked[:size] = STAR * size
        if cut_after:
            size = self.unsure_bytes(data)
            masked[len(masked) - size :] = STAR * size
        return bytes(masked)

    def unsure_bytes(self, data: bytes) -> int:
        """Return how many bytes at the end of `data` could be the beginning of a secret."""
        return max((_begun(secret, data) for secret in self._secrets), default=0)


def _begun(secret: bytes, data: bytes) -> int:
    place = data.find(secret[:1], max(0, len(data) - len(secret) + 1))
    while place >= 0:
        if secret.startswith(data[place:]):
            return len(data) - place
        place = data.find(secret[:1], place + 1)
    return 0


def _left_over(secret: bytes, data: bytes) -> int:
    """Return how many bytes at the beginning of `data` could be the end of `secret`."""
    return _begun(secret[::-1], data[: len(secret)][::-1])


class MaskedStream:
    """Masks an output that comes in chunks; `feed` and `end` together give as many bytes as came in."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._context = b""
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what is certain now."""
        if not self._mask:
            return data
        raw = self._context + self._held + data
        return self._give(raw, len(raw) - self._mask.unsure_bytes(raw))

    def end(self) -> bytes:
        """Return the rest: nothing follows."""
        raw = self._context + self._held
        return self._give(raw, len(raw))

    def _give(self, raw: bytes, until: int) -> bytes:
        since = len(self._context)
        until = max(until, since)
        given = self._mask.apply(raw)[since:until]
        self._context = raw[max(0, until - self._mask.margin_bytes) : until]
        self._held = raw[until:]
        return given
