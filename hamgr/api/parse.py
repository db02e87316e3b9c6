"""What bodies may contain, key by key; a wrong one is refused with every complaint and its place."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, get_args

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hamgr.api.body import escaped, read_json
from hamgr.api.problems import Fault, Problem
from hamgr.api.strategies import Duration, NamedOrWritten, RolloutBody, doubles
from hamgr.config import ApiAddress, ReachableAddress, ReplicaUuid
from statemachine.model import ERROR_CHARS_MAX, TASKS_MAX
from statemachine.upgrading import WHEELS_MAX
from statemachine.words import JobKind, Offline

ADDRESSES_TEXTS_MAX = 4_096
NAME_CHARS_MAX = 255
LABELS_MAX = 64
ATTEMPTS_MAX = 512
"""That one request for stored logs may name."""

M = TypeVar("M", bound=BaseModel)


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has a control character or another one that cannot be printed")
    return text


def _address(text: str) -> str:
    if not text or any(c.isspace() for c in text):
        raise ValueError("must be an address or a host name, without spaces")
    return text


Line = Annotated[str, AfterValidator(_one_line), Field(max_length=ERROR_CHARS_MAX)]
Name = Annotated[str, AfterValidator(_one_line), Field(max_length=NAME_CHARS_MAX)]
Address = Annotated[Name, AfterValidator(_address)]
Port = Annotated[int, Field(ge=1, le=65_535)]
User = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}$")]
BlobDigest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Labels = Annotated[dict[Name, Name], Field(max_length=LABELS_MAX)]
Variables = dict[Name, Any]
"""Any JSON below; `body` has seen to it that the log can carry it."""


class Body(BaseModel):
    """What every body is: closed, and taken as it is; made ready when the first one comes, not before.

    pydantic makes a model ready on one thread only: bodies are read on the event loop, and nowhere else.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class NodeBody(Body):
    """POST /v1/nodes"""

    name: Name
    address: Address
    port: Port = 22
    user: User = "root"
    labels: Labels = {}
    variables: Variables = {}
    role: Name = ""


class UpgradeBody(Body):
    """POST /v1/upgrade"""

    wheels: Annotated[list[BlobDigest], Field(min_length=1, max_length=WHEELS_MAX)]
    force: bool = False


class NodePatch(Body):
    """PATCH /v1/nodes/N; what is left out stays, a label that is null or empty goes."""

    labels: Annotated[dict[Name, Name | None], Field(max_length=LABELS_MAX)] | None = None
    variables: Variables | None = None
    role: Name | None = None


class MaintenanceBody(Body):
    """PUT /v1/nodes/N/maintenance; `until` is in Unix seconds, null for "until it is lifted"."""

    reason: Line
    until: Annotated[float, Field(ge=0, le=1e11, strict=False)] | None = None


class ReplaceBody(Body):
    """POST /v1/nodes/N:replace; `new` is the node that comes in its place."""

    new: Name
    reason: Line = ""
    priority: int = 0


class GlobalsPatch(Body):
    """PATCH /v1/globals; null removes a key."""

    variables: Variables


class ReplicaBody(Body):
    """PUT /v1/replicas/R; as in the `peers` of hamgrd.yaml."""

    id: ReplicaUuid
    raft: ReachableAddress
    api: ApiAddress


class CancelBody(Body):
    """POST /v1/jobs/J:cancel, and the same with :pause, :resume, :promote and :revert"""

    reason: Line = ""


class RetryBody(CancelBody):
    """POST /v1/jobs/J:retry"""

    unfinished: bool = False


class JobBody(Body):
    """POST /v1/jobs"""

    kind: Annotated[JobKind, Field(strict=False)]
    nodes: Annotated[list[Name], Field(max_length=TASKS_MAX)] = []
    selector: Line = ""
    addresses: Annotated[list[Name], Field(max_length=ADDRESSES_TEXTS_MAX)] = []
    role: Name = ""
    bundle: Name = ""
    variables: Variables = {}
    max_parallel: Annotated[int, Field(ge=0, le=TASKS_MAX)] = 0
    max_failed: Annotated[int, Field(ge=0, le=TASKS_MAX)] | None = None
    reason: Line = ""
    readmit: bool = False
    port: Port = 22
    user: User = "root"
    labels: Labels = {}
    rollout: NamedOrWritten = RolloutBody()
    priority: int = 0
    task_deadline: Duration = 0.0
    offline: Annotated[Offline, Field(strict=False)] = Offline.AUTO

    def misplaced(self) -> list[Fault]:
        """Return the keys that do not go with the job's kind, or not with each other."""
        discovers = {"addresses", "readmit", "port", "user", "labels"}
        works = {"nodes", "selector", "role", "bundle", "variables", "max_failed", "rollout", "priority"}
        works |= {"task_deadline", "offline"}
        wrong = self.model_fields_set & (works if self.kind is JobKind.DISCOVER else discovers)
        return [
            *(
                Fault(pointer=f"/{key}", message=f"does not go with a {self.kind} job")
                for key in sorted(wrong)
            ),
            *doubles(self.rollout, max_parallel=self.max_parallel, max_failed=self.max_failed),
        ]


class AttemptBody(Body):
    """Whose output; the job by its name on nodes."""

    job: Name
    node: Name
    step: Name
    number: int


class FetchBody(Body):
    """POST /v1/logs:fetch"""

    attempts: Annotated[list[AttemptBody], Field(max_length=ATTEMPTS_MAX)]


async def read_body(request: web.Request, model: type[M]) -> M:
    """Return the request's body as a `model`.

    Raises:
        Problem: `bad-body` with every complaint, or as `read_json` does.
    """
    value = await read_json(request)
    if not isinstance(value, dict):
        raise bad_body([Fault(message="must be a JSON object")])
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise bad_body([_fault(model, detail) for detail in error.errors(include_url=False)]) from error


def bad_body(faults: list[Fault]) -> Problem:
    """Return the problem that lists `faults`."""
    first = faults[0]
    more = f"; and {len(faults) - 1} more" if len(faults) > 1 else ""
    return Problem(
        "bad-body", f"{first.pointer or 'the body'}: {first.message}{more}", errors=faults, hint=first.hint
    )


def _fault(model: type[BaseModel], detail: Mapping[str, Any]) -> Fault:
    loc = [part for part in detail["loc"] if part != "[key]"]
    pointer = "".join(f"/{escaped(str(part))}" for part in loc)
    if detail["type"] == "extra_forbidden":
        fields = _inner(model, loc[:-1]).model_fields
        close = get_close_matches(str(loc[-1]), list(fields), n=1)
        known = ", ".join(fields)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {known}"
        return Fault(pointer=pointer, message="is not a key of this request", hint=hint)
    if detail["type"] == "missing":
        return Fault(pointer=pointer, message="is missing")
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return Fault(pointer=pointer, message=message[:1].lower() + message[1:])


def _inner(model: type[BaseModel], loc: list[Any]) -> type[BaseModel]:
    """Return the model of the object at `loc`, however deep."""
    for part in loc:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        kinds = (field.annotation, *get_args(field.annotation)) if field is not None else ()
        model = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), model)
    return model
