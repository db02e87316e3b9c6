"""The entries of the log that are about finding machines; `commands` has the rules for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from statemachine.model import Endpoint
from statemachine.stamped import Stamped
from statemachine.words import JobId, NodeName, Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitDiscovery(Stamped):
    """Ask for addresses to be probed.

    Attributes:
        sweep: The addresses come from a range: one that is silent is no failure.
        readmit: Accept machines that were forgotten.
    """

    endpoints: tuple[Endpoint, ...]
    sweep: bool = False
    readmit: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    max_parallel: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What discovery saw at an address.

    Attributes:
        twin: Where else a machine with the same machine id and host key answers, in another boot; empty when
            nowhere is known.
    """

    endpoint: Endpoint
    name: str
    machine_id: str
    host_key: str
    epoch: int
    facts: Mapping[str, Scalar] = field(default_factory=dict)
    twin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSighting(Stamped):
    """A machine answered a probe of a discover job."""

    job: JobId
    task: NodeName
    sighting: Sighting


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSilence(Stamped):
    """Nothing that can be managed answered a probe of a discover job.

    Attributes:
        silent: Nothing answered at all (in a sweep that is no failure).
    """

    job: JobId
    task: NodeName
    error: str
    silent: bool
