"""Compiles a step of a bundle, for one node, into the complete script that the runner is given.

1. Equal arguments give equal bytes, on every replica and in every process.
2. The script is complete: it needs nothing from hamgr but the runner's environment.
3. It changes nothing before its first line of work; what cannot be compiled is never sent.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from backends.ports import SCRIPT_BYTES_MAX
from hamgr.bundles.bundle import BundleFile, Form, LoadedBundle, StepBody
from hamgr.bundles.problems import RenderError
from hamgr.bundles.schema import StepModel
from hamgr.bundles.shell import PRELUDE, NotSayable, quote
from hamgr.bundles.steps import Scope, check_of, kind_of
from hamgr.bundles.templates import Templates, plain
from statemachine.words import Value, Verb

COMPILERS_MAX = 8


class Compiler:
    """Compiles the steps of one bundle; keep it as long as the bundle, for its compiled templates."""

    def __init__(self, bundle: LoadedBundle) -> None:
        self._bundle = bundle
        self._parts: dict[str, tuple[Mapping[str, BundleFile], Templates]] = {}

    def script(
        self,
        component: str,
        verb: Verb,
        step_name: str,
        *,
        form: Form = Form.APPLY,
        variables: Mapping[str, Value],
        facts: Mapping[str, Value],
        node_name: str,
    ) -> bytes:
        """See `doors.compile_step`."""
        body = self._body(component, verb, step_name)
        scope = self._scope(body, component, verb, variables, facts, node_name)
        when = body.model.when
        if when is not None and not scope.holds(("when",), when):
            return _finished(scope, _skipped, body)
        return _finished(scope, _writer(body, form, scope), body)

    def _body(self, component: str, verb: Verb, step_name: str) -> StepBody:
        body = self._bundle.bodies.get((component, verb, step_name))
        if body is None:
            message = f"there is no step `{step_name}` for {verb} in component `{component}` of this bundle"
            raise RenderError(f"components/{component}/component.yaml", 1, message)
        return body

    def _part(self, component: str) -> tuple[Mapping[str, BundleFile], Templates]:
        """Return a component's files, by their name below its directory, and its templates."""
        if component not in self._parts:
            directory = f"components/{component}/"
            files = {
                name.removeprefix(directory): file
                for name, file in self._bundle.files.items()
                if name.startswith(directory)
            }
            texts = {name: file.data for name, file in files.items()}
            self._parts[component] = files, Templates(directory.rstrip("/"), texts)
        return self._parts[component]

    def _scope(
        self,
        body: StepBody,
        component: str,
        verb: Verb,
        variables: Mapping[str, Value],
        facts: Mapping[str, Value],
        node_name: str,
    ) -> Scope:
        files, templates = self._part(component)
        values = {name: plain(variables[name]) for name in sorted(variables)}
        known = {name: plain(facts[name]) for name in sorted(facts)}
        version = self._bundle.manifest.components[component].version
        context: dict[str, Any] = {
            **values,
            "vars": values,
            "facts": known,
            "node": {"name": node_name, "facts": known},
            "component": {"name": component, "version": version},
        }
        return Scope(
            node_name=node_name,
            component=component,
            verb=str(verb),
            step=body.model.name,
            document=body.document,
            path=body.path,
            files=files,
            templates=templates,
            context=context,
            variables=values,
            secrets=self._bundle.manifest.secrets,
        )


@lru_cache(maxsize=COMPILERS_MAX)
def compiler_of(bundle: LoadedBundle) -> Compiler:
    """Keep the compiled templates of the bundles in use: rendering takes a tenth of compiling."""
    return Compiler(bundle)


def _writer(body: StepBody, form: Form, scope: Scope) -> Callable[[StepModel, Scope], str]:
    kind = kind_of(body.model)
    if form is Form.CHECK:
        check = check_of(body.model)
        if check is None:
            raise scope.error((), f"step `{scope.step}` is not checkable and has no check")
        return check
    if form is Form.PREVIEW:
        return _only_looks if body.read_only else kind.preview
    return kind.verify if body.read_only else kind.apply


def _skipped(step: StepModel, scope: Scope) -> str:
    del scope
    return f"{PRELUDE}printf 'skipped: when %s is false\\n' {quote(step.when or '')}\ndone_ unchanged\n"


def _only_looks(step: StepModel, scope: Scope) -> str:
    del step, scope
    return PRELUDE + "done_ unchanged\n"


def _finished(scope: Scope, compile_body: Callable[[StepModel, Scope], str], body: StepBody) -> bytes:
    """Put the heading on a step's shell, and hold the whole against the bounds."""
    heading = f"#!/bin/sh\n# hamgr: {scope.component}: {scope.verb}: {scope.step}\n"
    try:
        finished = (heading + compile_body(body.model, scope)).encode()
    except (NotSayable, UnicodeEncodeError) as error:
        raise scope.error((), f"a value cannot be sent: {error}") from error
    if len(finished) > SCRIPT_BYTES_MAX:
        raise scope.error((), f"compiles to more than {SCRIPT_BYTES_MAX} bytes")
    return finished
