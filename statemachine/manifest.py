"""What a bundle promises, without its files: the roles, and each component's steps.

The manifest is replicated with the bundle's digest, so that every replica knows what a job will do on a
node without opening the bundle. The bodies of the steps (templates, scripts) stay in the bundle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from statemachine.rollout import NamedRollout
from statemachine.words import Digest, JobKind, StepClass, Value, Verb

STEP_TIMEOUT_S = 300.0
"""How long a step may run where the bundle does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One resumable unit of work of a component's verb.

    Attributes:
        name: Unique within the component's verb.
        retries: How many further attempts follow one that failed.
        retry_delay_s: The wait before the first of them; it doubles each time, to 60 s at most.
        check: Whether the step is read-only; verify verbs contain nothing else.
        reboot: The step restarts the machine: silence until its time-out is planned, not a failure.
        notify: Handlers of the same component and verb that run at the end of it when this step changed
            something, or may have.
        handler: It runs only when it was notified.
    """

    name: str
    step_class: StepClass = StepClass.IDEMPOTENT
    timeout_s: float = STEP_TIMEOUT_S
    retries: int = 0
    retry_delay_s: float = 1.0
    check: bool = False
    reboot: bool = False
    notify: tuple[str, ...] = ()
    handler: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSpec:
    """A versioned unit of software or configuration.

    Attributes:
        verbs: Steps per verb, in the order in which they run. The loader has already filled in what a
            component leaves out: `upgrade` falls back to `commission`, and `verify` to the read-only form
            of every step that has one.
    """

    name: str
    version: str
    verbs: Mapping[Verb, tuple[StepSpec, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """In-service nodes of a role need at least `minimum` in-service nodes of `role`."""

    role: str
    minimum: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSpec:
    """What nodes are for.

    Attributes:
        default_rollouts: The strategy of jobs on nodes of this role that name none.
    """

    name: str
    components: tuple[str, ...] = ()
    variables: Mapping[str, Value] = field(default_factory=dict)
    requires: tuple[Requirement, ...] = ()
    default_rollouts: Mapping[JobKind, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole of `hamgr.yaml` and of every `component.yaml`, checked by the loader.

    Attributes:
        secrets: Names of variables whose values are masked wherever output is shown or stored.
        rollouts: Strategies by name, for jobs to choose from.
        default_rollouts: The strategy of jobs that name none, where no role has one of its own.
    """

    roles: Mapping[str, RoleSpec] = field(default_factory=dict)
    components: Mapping[str, ComponentSpec] = field(default_factory=dict)
    variables: Mapping[str, Value] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    rollouts: Mapping[str, NamedRollout] = field(default_factory=dict)
    default_rollouts: Mapping[JobKind, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One immutable version of the configuration repository, as the log knows it."""

    digest: Digest
    manifest: Manifest
    size_bytes: int
    message: str
    actor: str
    at: float
    index: int
