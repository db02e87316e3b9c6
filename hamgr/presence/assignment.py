"""Which replica probes which node: rendezvous hashing, so that little moves when a replica comes or goes.

Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998: each node ranks all
replicas by a hash of the pair, and takes the first that is there.
"""

from functools import lru_cache
from hashlib import blake2b

from statemachine.words import NodeName

CACHED_MAX = 20_000
"""Twice as many nodes as there can be: one answer each, before and after a replica went."""


@lru_cache(maxsize=CACHED_MAX)
def ranked(node: NodeName, vantages: frozenset[str]) -> tuple[str, ...]:
    """Return `vantages`, the one that is to probe `node` first."""
    return tuple(sorted(vantages, key=lambda vantage: _weight(node, vantage), reverse=True))


def _weight(node: str, vantage: str) -> bytes:
    return blake2b(f"{node}\0{vantage}".encode(), digest_size=8).digest()
