"""A token bucket: so many at once, and so many a second after that."""


class Bucket:
    """Counts what may pass; `now` is any clock in seconds, and one that goes back gives nothing."""

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._left = float(burst)
        self._at: float | None = None

    def take(self, now: float) -> float:
        """Take one; return 0, or how many seconds to wait before there is one again."""
        if self._at is not None:
            self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_s)
        self._at = now
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return (1.0 - self._left) / self._per_s
