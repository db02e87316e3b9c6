"""Checks what no file can know alone: names, the files that steps use, and what roles need of each other."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hamgr.bundles import handlers, rollouts
from hamgr.bundles.bundle import BundleFile
from hamgr.bundles.problems import Problem
from hamgr.bundles.schema import ComponentModel, RoleModel, StepModel
from hamgr.bundles.shape import did_you_mean, sound
from hamgr.bundles.steps import kind_of
from hamgr.bundles.steps.scope import FileUse
from hamgr.bundles.templates import (
    RESERVED,
    VARIABLE_NAME,
    expression_problem,
    is_template,
    mentioned,
    syntax_problem,
)
from hamgr.bundles.yaml import Document, Path
from statemachine.words import SHORT_NAME, Value

_NAME_HINT = "up to 24 lower-case letters, digits, `-` and `_`, the first and the last a letter or digit"
VERBS = ("commission", "upgrade", "verify", "cleanup", "drain", "undrain")
SECTIONS = (*VERBS, handlers.SECTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A component.yaml with what lies around it.

    Attributes:
        steps: Those of each verb, and the handlers, that have the right shape; with their places.
        files: By their name below the component's directory.
    """

    name: str
    steps: Mapping[str, Sequence[tuple[int, StepModel]]]
    document: Document
    files: Mapping[str, BundleFile] = field(repr=False)


def steps_in(document: Document, model: ComponentModel | None) -> dict[str, Sequence[tuple[int, StepModel]]]:
    """Return each verb's steps that have the right shape, whatever is wrong around them.

    Args:
        model: What the document was found to be, where nothing is wrong.
    """
    if model is not None:
        return {section: list(enumerate(getattr(model, section) or ())) for section in SECTIONS}
    found: dict[str, Sequence[tuple[int, StepModel]]] = {}
    for verb in SECTIONS:
        listed = document.value.get(verb) if isinstance(document.value, dict) else None
        items = listed if isinstance(listed, list) else []
        steps = [(index, sound(StepModel, item)) for index, item in enumerate(items)]
        found[verb] = [(index, step) for index, step in steps if step is not None]
    return found


def in_bundle(document: Document, components: Iterable[str]) -> Iterator[Problem]:
    """Check `hamgr.yaml`; `components` are the names of all that have a component.yaml, sound or not."""
    value = document.value if isinstance(document.value, dict) else {}
    listed = value.get("roles")
    names = set(listed) if isinstance(listed, dict) else set()
    shapes = (
        {name: sound(RoleModel, item) for name, item in listed.items()} if isinstance(listed, dict) else {}
    )
    roles = {name: role for name, role in shapes.items() if role is not None}
    variables = value.get("variables")
    yield from _variables(variables if isinstance(variables, dict) else {}, document, ("variables",))
    secrets = value.get("secrets")
    yield from _secrets(secrets if isinstance(secrets, list) else [], document)
    for role_name, role in roles.items():
        yield from _role(role_name, role, document, set(components), names)
    yield from _circles(roles, document)
    yield from rollouts.problems(document, roles)


def _role(
    name: str, role: RoleModel, document: Document, components: set[str], roles: set[str]
) -> Iterator[Problem]:
    path: Path = ("roles", name)
    if not SHORT_NAME.match(name):
        yield document.problem(path, f"`{name}` is no name for a role", _NAME_HINT, at_key=True)
    yield from _variables(role.variables, document, (*path, "variables"))
    seen: set[str] = set()
    for index, component in enumerate(role.components):
        place = (*path, "components", index)
        if component not in components:
            hint = did_you_mean(component, components)
            yield document.problem(place, f"there is no component `{component}`", hint)
        if component in seen:
            yield document.problem(place, f"component `{component}` is in this role twice")
        seen.add(component)
    needed: set[str] = set()
    for index, requirement in enumerate(role.requires):
        place = (*path, "requires", index, "role")
        if requirement.role not in roles:
            hint = did_you_mean(requirement.role, roles)
            yield document.problem(place, f"there is no role `{requirement.role}`", hint)
        if requirement.role in needed:
            yield document.problem(place, f"role `{requirement.role}` is required twice")
        needed.add(requirement.role)


def in_component(component: Component) -> Iterator[Problem]:
    """Check one component.yaml against its own directory."""
    document = component.document
    if not SHORT_NAME.match(component.name):
        yield Problem(document.file, 1, 1, f"`{component.name}` is no name for a component", _NAME_HINT)
    yield from handlers.problems(document, component.steps, VERBS)
    for verb in SECTIONS:
        names: set[str] = set()
        for index, step in component.steps[verb]:
            path: Path = (verb, index)
            if not SHORT_NAME.match(step.name):
                yield document.problem((*path, "name"), f"`{step.name}` is no name for a step", _NAME_HINT)
            if step.name in names:
                yield document.problem((*path, "name"), f"{verb} has two steps called `{step.name}`")
            names.add(step.name)
            if verb == "verify" and step.script is not None and step.script.step_class == "once":
                message = "a script in verify only looks, so that it can always be run again"
                yield document.problem((*path, "script", "class"), message, "leave `class` out")
            if verb == "verify" and step.reboot is not None:
                yield document.problem(
                    (*path, "reboot"), "verify only looks, and restarts nothing", at_key=True
                )
            yield from _step(component, step, path)


def _step(component: Component, step: StepModel, path: Path) -> Iterator[Problem]:
    kind = kind_of(step)
    document = component.document
    for complaint in kind.complaints(step):
        yield document.problem((*path, *complaint.path), complaint.message, complaint.hint)
    if step.when is not None:
        yield from _when(step.when, document, (*path, "when"))
    for below, text in kind.texts(step):
        fault = syntax_problem(text) if is_template(text) else None
        if fault is not None:
            line, message = fault
            place = (*path, *below)
            found = document.problem(place, f"template: {message}")
            column = 1 if place in document.blocks else found.column
            yield Problem(found.file, document.line(place, line), column, found.message)
    for use in kind.files(step):
        yield from _file_use(component, use, path)


def _when(expression: str, document: Document, path: Path) -> Iterator[Problem]:
    if is_template(expression):
        hint = "as in `when: facts.cpus > 1`"
        yield document.problem(path, "`when` is an expression already, without {{ and }}", hint)
    elif (fault := expression_problem(expression)) is not None:
        yield document.problem(path, f"`when`: {fault}")


def _file_use(component: Component, use: FileUse, path: Path) -> Iterator[Problem]:
    document = component.document
    place = (*path, *use.path)
    where = f"components/{component.name}"
    found = component.files.get(use.name)
    if found is None:
        hint = did_you_mean(use.name, set(component.files) - {"component.yaml"})
        yield document.problem(place, f"there is no file `{use.name}` in {where}", hint)
    elif use.template:
        yield from _template(component, use.name, document.problem(place, ""))
    if found is not None and use.script and b"\0" in found.data:
        yield document.problem(place, f"`{use.name}` is not a script", "install a program with a `file` step")


def _template(component: Component, first: str, user: Problem) -> Iterator[Problem]:
    """Check a template and all that it includes."""
    where = f"components/{component.name}"
    todo, seen = [(first, user)], {first}
    while todo:
        name, asked_by = todo.pop()
        file = component.files.get(name)
        if file is None:
            message = f"there is no file `{name}` in {where}"
            yield Problem(asked_by.file, asked_by.line, asked_by.column, message)
            continue
        try:
            source = file.data.decode()
        except UnicodeDecodeError:
            yield Problem(f"{where}/{name}", 1, 1, "is a template and not UTF-8 text", "use `source` for it")
            continue
        fault = syntax_problem(source)
        if fault is not None:
            line, message = fault
            yield Problem(f"{where}/{name}", line, 1, f"template: {message}")
            continue
        for other in sorted(mentioned(source) - seen):
            line = next((n for n, text in enumerate(source.split("\n"), 1) if other in text), 1)
            todo.append((other, Problem(f"{where}/{name}", line, 1, "")))
            seen.add(other)


def _variables(variables: Mapping[str, Value], document: Document, path: Path) -> Iterator[Problem]:
    for name in variables:
        if not re.match(VARIABLE_NAME, name):
            hint = "letters, digits and `_`, no digit first"
            yield document.problem((*path, name), f"`{name}` is no name for a variable", hint, at_key=True)
        elif name in RESERVED:
            message = f"`{name}` has a meaning of its own in templates"
            yield document.problem((*path, name), message, "choose another name", at_key=True)


def _secrets(names: Sequence[object], document: Document) -> Iterator[Problem]:
    """Check that each name can be that of a variable, or the path to a part of one."""
    for index, name in enumerate(names):
        if not isinstance(name, str):
            continue  # the schema has complained
        parts = name.split(".")
        if not re.match(VARIABLE_NAME, parts[0]) or parts[0] in RESERVED or not all(parts):
            hint = "a variable's name, or with dots the path to a part of one, as in `db.password`"
            yield document.problem(("secrets", index), f"`{name}` is no name for a variable", hint)
        if name in names[:index]:
            yield document.problem(("secrets", index), f"`{name}` is listed twice")


def _circles(roles: Mapping[str, RoleModel], document: Document) -> Iterator[Problem]:
    """Refuse roles that wait for each other: none of their nodes could ever be the first."""
    done: set[str] = set()
    for start in roles:
        trail: list[str] = []
        # Each entry is a role and the iterator over what it still has to be followed to.
        stack = [(start, iter(roles[start].requires))] if start not in done else []
        trail = [start] if stack else []
        while stack:
            name, rest = stack[-1]
            requirement = next(rest, None)
            if requirement is None:
                done.add(name)
                trail.pop()
                stack.pop()
            elif requirement.role in trail:
                circle = [*trail[trail.index(requirement.role) :], requirement.role]
                message = f"roles require each other in a circle: {' -> '.join(circle)}"
                hint = "one of them must be able to come first"
                yield document.problem(("roles", name, "requires"), message, hint, at_key=True)
            elif requirement.role in roles and requirement.role not in done:
                trail.append(requirement.role)
                stack.append((requirement.role, iter(roles[requirement.role].requires)))
