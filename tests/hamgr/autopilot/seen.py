"""Views for the tests of this folder: replicas by letter, `a` leads."""

from hamgr.autopilot.rules import Seen, View
from hamgr.raft.protocol.membership import ReplicaId

PROBED = ("nobody answers at its port", "its API does not answer")


def one(name: str, **more: object) -> Seen:
    """Return a voter that lives."""
    return Seen(**{"id": ReplicaId(name), "name": name, "voter": True, "alive": True, **more})


def dead(name: str, **more: object) -> Seen:
    return one(name, **{"alive": False, "silent_s": 12.0, "failed": PROBED, **more})


def standby(name: str, **more: object) -> Seen:
    """Return one that could get a vote."""
    return one(name, **{"voter": False, "well_s": 12.0, **more})


def view(*replicas: Seen | str, **more: object) -> View:
    seen = tuple(one(item) if isinstance(item, str) else item for item in replicas)
    return View(
        **{"me": ReplicaId("a"), "leads": True, "settled": True, "target": 5, "replicas": seen, **more}
    )
