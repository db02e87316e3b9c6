"""What `hamgr.yaml` and `component.yaml` may contain: the shape of each file, key by key.

Values that may be templates (`Text`) are checked here only for their shape; what they must look like is
checked by the step's kind, at once when they are literal, and for each node when they are rendered.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

from hamgr.bundles.strategy import StrategyModel
from statemachine.manifest import STEP_TIMEOUT_S

COMPONENTS_MAX = 200
ROLES_MAX = 200
STEPS_MAX = 50
PACKAGES_MAX = 200
SECRETS_MAX = 200
ROLLOUTS_MAX = 50
TEXT_CHARS_MAX = 64 * 1024
STEP_TIMEOUT_S_MAX = 86_400.0
RETRIES_MAX = 20
REBOOT_TIMEOUT_S = 600.0
"""How long a machine may take to come back where the step does not say."""
EXPRESSION_CHARS_MAX = 2000

Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]
"""A text that is rendered for each node."""
Variables: TypeAlias = dict[str, Any]
"""Whatever `yaml` accepted, which is what a `Value` may be."""
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]


def _whole_number_or_text(value: object) -> int | str:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError("must be a number or a template")


NumberText: TypeAlias = Annotated[int | str, PlainValidator(_whole_number_or_text)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def given(self, *names: str) -> list[str]:
        """Return those of `names` that have a value."""
        return [name for name in names if getattr(self, name) is not None]

    def exactly_one(self, *names: str) -> None:
        given = self.given(*names)
        if len(given) != 1:
            listed = ", ".join(f"`{name}`" for name in names)
            found = f"; it has {' and '.join(given)}" if given else ""
            raise ValueError(f"needs exactly one of {listed}{found}")


class FileModel(Model):
    """Put a file there, or see that there is none."""

    path: Text
    template: Name | None = None
    source: Name | None = None
    content: Annotated[str, Field(max_length=TEXT_CHARS_MAX)] | None = None
    mode: str | None = Field(default=None, pattern=r"^0?[0-7]{3,4}$")
    owner: Text | None = None
    group: Text | None = None
    state: Literal["present", "absent"] = "present"

    @model_validator(mode="after")
    def _what_goes_there(self) -> "FileModel":
        if self.state == "present":
            self.exactly_one("template", "source", "content")
        elif self.given("template", "source", "content", "mode", "owner", "group"):
            raise ValueError("`state: absent` goes with `path` alone")
        return self


class ServiceModel(Model):
    """Have a service of the node's service manager run, or not."""

    name: Text
    state: Literal["running", "stopped", "restarted", "reloaded"]
    enabled: bool | None = None
    restart_on: Annotated[list[Text], Field(max_length=20)] = []

    @model_validator(mode="after")
    def _restart_what_runs(self) -> "ServiceModel":
        if self.state == "stopped" and self.restart_on:
            raise ValueError("a stopped service cannot have `restart_on`")
        if self.state in ("restarted", "reloaded") and (self.restart_on or self.enabled is not None):
            raise ValueError(f"`state: {self.state}` goes with `name` alone")
        return self


class ScriptModel(Model):
    """Run a program of the bundle's author."""

    source: Name | None = None
    content: Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)] | None = None
    step_class: Literal["idempotent", "checkable", "once"] = Field(default="idempotent", alias="class")
    check: Name | None = None
    template: bool = False

    @model_validator(mode="after")
    def _check_goes_with_checkable(self) -> "ScriptModel":
        self.exactly_one("source", "content")
        if self.step_class == "checkable" and self.check is None:
            raise ValueError("`class: checkable` needs `check`, a script that exits 0 when the work is done")
        if self.step_class != "checkable" and self.check is not None:
            raise ValueError("`check` goes with `class: checkable` alone")
        return self


class TcpModel(Model):
    port: NumberText
    host: Text = "127.0.0.1"


class HttpModel(Model):
    url: Text
    status: int = Field(default=200, ge=100, le=599)
    contains: Text | None = None


class PathModel(Model):
    path: Text
    sha256: Text | None = None


class CheckModel(Model):
    """Look whether something holds."""

    command: Annotated[list[Text], Field(min_length=1, max_length=100)] | None = None
    tcp: TcpModel | None = None
    http: HttpModel | None = None
    file: PathModel | None = None
    within_s: float = Field(default=0, ge=0, le=3600)

    @model_validator(mode="after")
    def _one_question(self) -> "CheckModel":
        self.exactly_one("command", "tcp", "http", "file")
        return self


class PackageModel(Model):
    """Have packages of the distribution installed, or not."""

    name: Text | None = None
    names: Annotated[list[Text], Field(min_length=1, max_length=PACKAGES_MAX)] | None = None
    state: Literal["present", "absent", "latest"] = "present"
    version: Text | None = None
    manager: Literal["auto", "apt", "dnf"] = "auto"
    recommends: bool = False

    @model_validator(mode="after")
    def _which(self) -> "PackageModel":
        self.exactly_one("name", "names")
        if self.version is not None and (self.names is not None or self.state != "present"):
            raise ValueError("`version` goes with one `name`, and with `state: present`")
        return self


class PlaybookModel(Model):
    """Run an Ansible playbook on the node."""

    source: Name
    extra_vars: Variables = {}


class RebootModel(Model):
    """Restart the machine, and go on when it is back."""

    command: Annotated[list[Text], Field(min_length=1, max_length=20)] | None = None


class StepModel(Model):
    name: Name
    file: FileModel | None = None
    service: ServiceModel | None = None
    script: ScriptModel | None = None
    check: CheckModel | None = None
    package: PackageModel | None = None
    playbook: PlaybookModel | None = None
    reboot: RebootModel | None = None
    when: Annotated[str, Field(min_length=1, max_length=EXPRESSION_CHARS_MAX)] | None = None
    notify: Annotated[list[Name], Field(max_length=STEPS_MAX)] = []
    timeout_s: float = Field(default=STEP_TIMEOUT_S, gt=0, le=STEP_TIMEOUT_S_MAX)
    retries: int = Field(default=0, ge=0, le=RETRIES_MAX)
    retry_delay_s: float = Field(default=1.0, gt=0, le=60)

    @model_validator(mode="after")
    def _one_kind(self) -> "StepModel":
        self.exactly_one(*KINDS)
        if self.check is not None and self.check.within_s >= self.timeout_s:
            raise ValueError("`within_s` must be less than the step's `timeout_s`")
        return self

    @property
    def limit_s(self) -> float:
        """How long an attempt may take: what is written, or what fits the kind."""
        if self.reboot is not None and "timeout_s" not in self.model_fields_set:
            return REBOOT_TIMEOUT_S
        return self.timeout_s


KINDS = ("file", "service", "script", "check", "package", "playbook", "reboot")
Steps: TypeAlias = Annotated[list[StepModel], Field(max_length=STEPS_MAX)]


class ComponentModel(Model):
    """`components/NAME/component.yaml`."""

    version: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
    commission: Steps
    upgrade: Steps | None = None
    verify: Steps | None = None
    cleanup: Steps | None = None
    drain: Steps | None = None
    undrain: Steps | None = None
    handlers: Steps = []


class RequirementModel(Model):
    role: Name
    minimum: int = Field(default=1, alias="min", ge=1, le=10_000)


DefaultRollouts: TypeAlias = dict[Literal["commission", "upgrade", "verify", "decommission"], Name]
"""The strategy of jobs of a kind that name none."""


class RoleModel(Model):
    components: Annotated[list[Name], Field(max_length=COMPONENTS_MAX)] = []
    requires: Annotated[list[RequirementModel], Field(max_length=ROLES_MAX)] = []
    variables: Variables = {}
    default_rollouts: DefaultRollouts = {}


class BundleModel(Model):
    """`hamgr.yaml`."""

    version: Literal[1]
    variables: Variables = {}
    secrets: Annotated[list[Name], Field(max_length=SECRETS_MAX)] = []
    roles: Annotated[dict[str, RoleModel], Field(max_length=ROLES_MAX)]
    rollouts: Annotated[dict[str, StrategyModel], Field(max_length=ROLLOUTS_MAX)] = {}
    default_rollouts: DefaultRollouts = {}
