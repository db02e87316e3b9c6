"""Turns an uploaded archive into a checked bundle, or into the list of everything that is wrong with it."""

from collections.abc import Mapping
from dataclasses import replace

from hamgr.bundles import handlers, references, yaml
from hamgr.bundles.archive import digest_of, pack, read_archive
from hamgr.bundles.bundle import BundleFile, LoadedBundle, StepBody
from hamgr.bundles.problems import BundleInvalid, Problem
from hamgr.bundles.references import Component
from hamgr.bundles.schema import (
    COMPONENTS_MAX,
    BundleModel,
    ComponentModel,
    DefaultRollouts,
    RoleModel,
    StepModel,
)
from hamgr.bundles.shape import shaped
from hamgr.bundles.steps import can_verify
from hamgr.bundles.yaml import Document
from statemachine.manifest import ComponentSpec, Manifest, Requirement, RoleSpec, StepSpec
from statemachine.words import JobKind, StepClass, Verb

ROOT_FILE = "hamgr.yaml"
COMPONENT_FILE = "component.yaml"


def loaded(archive: bytes) -> LoadedBundle:
    """See `doors.load`."""
    files = read_archive(archive)
    problems: list[Problem] = []
    by_component = _component_files(files, problems)
    components: dict[str, tuple[ComponentModel, Document]] = {}
    for name, own in by_component.items():
        found = _component(name, own, problems)
        if found is not None:
            components[name] = found
    model: BundleModel | None = None
    if ROOT_FILE not in files:
        hint = "send the directory that contains hamgr.yaml"
        problems.append(Problem(ROOT_FILE, 1, 1, "is missing", hint))
    else:
        document = yaml.parse(ROOT_FILE, files[ROOT_FILE].data, problems)
        model = shaped(BundleModel, document, problems) if document is not None else None
        if document is not None:
            problems += references.in_bundle(document, by_component)
    if problems or model is None:
        raise BundleInvalid(problems)
    packed = pack(files)
    bodies: dict[tuple[str, Verb, str], StepBody] = {}
    specs = {name: _component_spec(name, *found, bodies) for name, found in components.items()}
    manifest = Manifest(
        roles={name: _role_spec(name, role) for name, role in model.roles.items()},
        components=specs,
        variables=dict(model.variables),
        secrets=tuple(model.secrets),
        rollouts={name: strategy.named() for name, strategy in model.rollouts.items()},
        default_rollouts=_default_rollouts(model.default_rollouts),
    )
    return LoadedBundle(
        digest=digest_of(packed), manifest=manifest, packed=packed, files=files, bodies=bodies
    )


def _component_files(
    files: Mapping[str, BundleFile], problems: list[Problem]
) -> dict[str, dict[str, BundleFile]]:
    """Sort the files below `components/` by component, named as the component names them."""
    found: dict[str, dict[str, BundleFile]] = {}
    for path, file in files.items():
        parts = path.split("/", 2)
        if parts[0] == "components" and len(parts) == 3:
            found.setdefault(parts[1], {})[parts[2]] = file
    if len(found) > COMPONENTS_MAX:
        problems.append(Problem("components", 1, 1, f"has more than {COMPONENTS_MAX} components"))
        return {}
    return found


def _component(
    name: str, files: dict[str, BundleFile], problems: list[Problem]
) -> tuple[ComponentModel, Document] | None:
    """Check one component; whatever is wrong in one place, the rest is checked too."""
    path = f"components/{name}/{COMPONENT_FILE}"
    if COMPONENT_FILE not in files:
        problems.append(
            Problem(path, 1, 1, "is missing", f"every directory in components/ has a {COMPONENT_FILE}")
        )
        return None
    document = yaml.parse(path, files[COMPONENT_FILE].data, problems)
    if document is None:
        return None
    model = shaped(ComponentModel, document, problems)
    steps = references.steps_in(document, model)
    problems += references.in_component(Component(name=name, steps=steps, document=document, files=files))
    return (model, document) if model is not None else None


def _role_spec(name: str, role: RoleModel) -> RoleSpec:
    return RoleSpec(
        name=name,
        components=tuple(role.components),
        variables=dict(role.variables),
        requires=tuple(Requirement(role=item.role, minimum=item.minimum) for item in role.requires),
        default_rollouts=_default_rollouts(role.default_rollouts),
    )


def _default_rollouts(written: DefaultRollouts) -> dict[JobKind, str]:
    return {JobKind(kind): name for kind, name in written.items()}


def _component_spec(
    name: str, model: ComponentModel, document: Document, bodies: dict[tuple[str, Verb, str], StepBody]
) -> ComponentSpec:
    """Fill in the verbs that a component leaves out, and remember the body of every step."""
    # Each verb, with the key in component.yaml under which its steps are written.
    written = {
        Verb.COMMISSION: ("commission", model.commission),
        Verb.UPGRADE: ("upgrade", model.upgrade),
        Verb.VERIFY: ("verify", model.verify),
        Verb.CLEANUP: ("cleanup", model.cleanup or []),
    }
    # Nothing is said of these where nothing is written: replicas that do not know them have no need to.
    for verb, steps_given in ((Verb.DRAIN, model.drain), (Verb.UNDRAIN, model.undrain)):
        if steps_given is not None:
            written[verb] = (str(verb), steps_given)
    verbs: dict[Verb, tuple[StepSpec, ...]] = {}
    for verb, (given_key, given_steps) in written.items():
        derived = given_steps is None
        key, steps = ("commission", model.commission) if given_steps is None else (given_key, given_steps)
        read_only = verb is Verb.VERIFY
        specs: list[StepSpec] = []
        for index, step in enumerate(steps):
            if read_only and derived and not can_verify(step):
                continue
            specs.append(_step_spec(step, read_only=read_only))
            bodies[name, verb, step.name] = StepBody(
                model=step, document=document, path=(key, index), read_only=read_only
            )
        for index, handler in [] if read_only else handlers.notified(steps, model.handlers):
            specs.append(replace(_step_spec(handler, read_only=False), handler=True))
            bodies[name, verb, handler.name] = StepBody(
                model=handler, document=document, path=(handlers.SECTION, index), read_only=False
            )
        verbs[verb] = tuple(specs)
    return ComponentSpec(name=name, version=model.version, verbs=verbs)


def _step_spec(step: StepModel, *, read_only: bool) -> StepSpec:
    # What only looks can always be launched again, whatever class the step has where it does the work.
    declared = "idempotent"
    if not read_only and (step.script is not None or step.reboot is not None):
        declared = step.script.step_class if step.script is not None else "checkable"
    return StepSpec(
        name=step.name,
        step_class=StepClass(declared),
        timeout_s=float(step.limit_s),
        retries=step.retries,
        retry_delay_s=float(step.retry_delay_s),
        check=read_only or step.check is not None,
        reboot=step.reboot is not None,
        notify=() if read_only else tuple(dict.fromkeys(step.notify)),
    )
