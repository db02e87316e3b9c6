"""What nodes are told to do, and how that ends: bundles without files, scripts that say what they mean.

A script is JSON that names its step and carries the variables it was made from, so that, as with real
scripts, the same attempt made from other variables is another script.
"""

import json
from dataclasses import dataclass
from random import Random

from hamgr.jobs.scripts import CannotPrepare
from statemachine.jobs.work import StepDue
from statemachine.manifest import ComponentSpec, Manifest, Requirement, RoleSpec, StepSpec
from statemachine.model import State
from statemachine.nodes import variables
from statemachine.words import Digest, JobId, NodeName, StepClass, Verb

COMPONENTS = {"base": ("mount", "users"), "store": ("data",), "front": ("site",), "probe": ("agent",)}
ROLES = {
    "db": (("base", "store"), ()),
    "web": (("base", "front"), (Requirement(role="db", minimum=1),)),
    "edge": (("base", "front", "probe"), (Requirement(role="web"), Requirement(role="db"))),
    "lone": (("probe",), ()),
}
POISON = "poison"
"""A variable of this name makes the steps of the component that it names impossible to prepare."""


def digest_of(number: int) -> Digest:
    return Digest(f"sha256:{number:064x}")


def manifest_of(seed: str, number: int) -> Manifest:
    """Return bundle `number` of a world: the same roles each time, other steps."""
    random = Random(f"{seed}/bundle/{number}")
    components = {
        name: ComponentSpec(name=name, version=str(number), verbs=_verbs(random, parts))
        for name, parts in COMPONENTS.items()
    }
    roles = {
        name: RoleSpec(name=name, components=parts, requires=requires)
        for name, (parts, requires) in ROLES.items()
    }
    return Manifest(roles=roles, components=components, variables={"bundle": number})


def _verbs(random: Random, parts: tuple[str, ...]) -> dict[Verb, tuple[StepSpec, ...]]:
    work = tuple(step for part in parts for step in _work(random, part))
    checks = tuple(
        StepSpec(
            name=f"see-{part}", check=True, timeout_s=20.0, retries=random.randint(0, 2), retry_delay_s=2.0
        )
        for part in parts
    )
    cleanup = tuple(StepSpec(name=f"drop-{part}", timeout_s=60.0, retries=1) for part in reversed(parts))
    return {Verb.COMMISSION: work, Verb.UPGRADE: work, Verb.VERIFY: checks, Verb.CLEANUP: cleanup}


def _work(random: Random, part: str) -> list[StepSpec]:
    classes = (StepClass.IDEMPOTENT, StepClass.IDEMPOTENT, StepClass.CHECKABLE, StepClass.ONCE)
    return [
        StepSpec(
            name=f"put-{part}-{number}",
            step_class=random.choice(classes),
            timeout_s=random.choice((30.0, 90.0, 240.0)),
            retries=random.randint(0, 2),
            retry_delay_s=random.choice((1.0, 5.0, 20.0)),
        )
        for number in range(random.randint(1, 2))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a script says."""

    bundle: str
    component: str
    verb: str
    step: str
    check: bool
    """The step only looks."""
    checking: bool
    """It is the check of a lost attempt."""

    @property
    def works(self) -> bool:
        """Whether it changes the node."""
        return not (self.check or self.checking)


def read(script: bytes) -> Order:
    return Order(**json.loads(script)["order"])


class OrderSource:
    """A `ScriptSource` that needs no bundle files."""

    async def script(self, state: State, job: JobId, node: NodeName, due: StepDue) -> bytes:
        subject = state.nodes[node]
        layers = variables.layers(state, subject, due.step.bundle, job=state.jobs[job], phase=due.step.phase)
        values = variables.resolve(layers)
        if values.get(POISON) == due.step.component:
            raise CannotPrepare(f"{due.step.component} names a variable that the node has not")
        order = {
            "bundle": due.step.bundle,
            "component": due.step.component,
            "verb": due.step.verb,
            "step": due.step.spec.name,
            "check": due.step.spec.check,
            "checking": due.checking,
        }
        said = {"order": order, "variables": values, "facts": dict(subject.facts)}
        return json.dumps(said, sort_keys=True).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Nature:
    """How one step of one bundle goes on one machine.

    Attributes:
        fails: How many launches fail before one passes.
        lasts_s: How long each launch takes.
        reboots: Whether the machine goes down in the middle of the first launch.
    """

    fails: int
    lasts_s: float
    reboots: bool


def nature_of(seed: str, machine: str, order: Order, *, hardship: float) -> Nature:
    """Return what fate has in store; `hardship` between 0 and 1 is how bad it is on this machine."""
    place = f"{seed}/{machine}/{order.bundle}/{order.component}/{order.verb}/{order.step}/{order.checking}"
    random = Random(place)
    fails = 0
    if random.random() < hardship:
        fails = random.choice((1, 1, 1, 2, 1_000_000))
    quick = order.check or order.checking or random.random() > hardship
    lasts_s = (
        random.choice((0.0, 0.2, 1.0, 4.0)) if quick else random.choice((15.0, 40.0, 80.0, 200.0, 600.0))
    )
    return Nature(fails=fails, lasts_s=lasts_s, reboots=not order.check and random.random() < hardship / 3)
