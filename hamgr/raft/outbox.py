"""Holds back what a replica says about its log until the disk has it.

1. An acknowledgement, a vote and a request for votes promise something that must outlive this process. They
   leave with `release`, which is called after the journal was synced.
2. Entries leave at once: a leader need not have what it sends, as long as it does not count itself, and
   its disk works while those of the followers do. Nor does a forwarded command promise anything.
3. Whatever we have not thought of is held.
"""

from typing import Any

PROMISES_NOTHING = frozenset({"append_entries", "apply_command", "timeout_now"})


class Outbox:
    """A transport in front of another.

    Attributes:
        acknowledge_below: No acknowledgement may name this index or a later one; None: they are as they are.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._held: list[tuple[Any, dict[str, Any]]] = []
        self.acknowledge_below: int | None = None

    @property
    def waiting(self) -> bool:
        """Something is held."""
        return bool(self._held)

    def send(self, node: Any, message: dict[str, Any]) -> bool:
        """Send or hold; True unless it is known to be lost."""
        if message["type"] in PROMISES_NOTHING:
            return bool(self._inner.send(node, message))
        if message["type"] == "next_node_idx" and self.acknowledge_below is not None:
            message["next_node_idx"] = min(message["next_node_idx"], self.acknowledge_below)
        self._held.append((node, message))
        return True

    def release(self) -> None:
        """Send what is held, in order. Everything that it promises must be on the disk."""
        held, self._held = self._held, []
        for node, message in held:
            self._inner.send(node, message)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the other transport's."""
        return getattr(self._inner, name)
