"""`script`: a program of the bundle's author, run with a declared class.

1. It runs as a file of its own, by the interpreter that its first line names, or by sh.
2. It finds the node's variables in its environment as HAMGR_VAR_name (lists and mappings as JSON), beside
   HAMGR_NODE, HAMGR_COMPONENT and HAMGR_VERB. That is the safe way; a script that is a template must use
   the `quote` filter.
3. Its exit status is the step's.
4. To verify a checkable script means to run its check; any other script in a verify verb is run itself.
"""

import json
from collections.abc import Iterator

from hamgr.bundles.schema import ScriptModel, StepModel
from hamgr.bundles.shell import PRELUDE, NotSayable, function, quote, write_to
from hamgr.bundles.steps.scope import Complaint, FileUse, Scope
from hamgr.bundles.yaml import Path

VARIABLE_BYTES_MAX = 100_000
"""Linux passes at most 128 KiB in one variable of the environment (MAX_ARG_STRLEN, execve(2))."""


def texts(step: StepModel) -> Iterator[tuple[Path, str]]:
    model = _model(step)
    if model.content is not None and model.template:
        yield ("script", "content"), model.content


def files(step: StepModel) -> Iterator[FileUse]:
    model = _model(step)
    if model.source is not None:
        yield FileUse(("script", "source"), model.source, template=model.template, script=True)
    if model.check is not None:
        yield FileUse(("script", "check"), model.check, template=model.template, script=True)


def complaints(step: StepModel) -> Iterator[Complaint]:
    content = _model(step).content
    if content is not None and "\0" in content:
        yield Complaint(("script", "content"), "a script cannot contain NUL")


def apply(step: StepModel, scope: Scope) -> str:
    model = _model(step)
    if model.source is not None:
        return _run(scope, scope.file(("script", "source"), model.source, template=model.template))
    content = model.content or ""
    path: Path = ("script", "content")
    return _run(scope, (scope.text(path, content) if model.template else content).encode())


def verify(step: StepModel, scope: Scope) -> str:
    return check(step, scope) if _model(step).check is not None else apply(step, scope)


def preview(step: StepModel, scope: Scope) -> str:
    """Return shell that asks the check, and stores nothing: a preview may run beside a step."""
    model = _model(step)
    if model.check is None:
        return PRELUDE + _UNKNOWN
    body = _check_body(model, scope)
    return "".join([PRELUDE, _environment(scope), function("body", body), _asking(body)])


def check(step: StepModel, scope: Scope) -> str:
    """Return shell that exits 0 when the work of a checkable script is already done."""
    return _run(scope, _check_body(_model(step), scope))


def _check_body(model: ScriptModel, scope: Scope) -> bytes:
    if model.check is None:
        raise AssertionError("only a checkable script is asked for its check")
    return _sayable(scope, scope.file(("script", "check"), model.check, template=model.template))


def _model(step: StepModel) -> ScriptModel:
    if step.script is None:
        raise AssertionError("the schema lets a step be of one kind, and this one is a script")
    return step.script


def _run(scope: Scope, body: bytes) -> str:
    # The name tells an operator who looks at the node's processes what is running.
    name = f"{scope.component}-{scope.verb}-{scope.step}"
    return "".join(
        [
            PRELUDE,
            _environment(scope),
            f"box=$state/scripts\nbody=$box/{name}.$$\n",
            _BEFORE,
            write_to('"$body"', _sayable(scope, body)),
            "umask 022\n",
            f'{_interpreter(body)} "$body" </dev/null\n',
            'code=$?\nrm -f "$body"\nexit "$code"\n',
        ]
    )


def _sayable(scope: Scope, body: bytes) -> bytes:
    if b"\0" in body:
        raise scope.error(("script",), "a script cannot contain NUL")
    return body


def _asking(body: bytes) -> str:
    return f"""\
if body | {{ {_interpreter(body)} /proc/self/fd/9 9<&0 </dev/null >/dev/null 2>&1; }}; then
  done_ unchanged
fi
printf '%s\\n' 'its check says that the work is not done'
done_ 'would change'
"""


def _interpreter(body: bytes) -> str:
    """Return the words that run a script, as the kernel would (execve(2)): a program and one argument.

    Not left to the kernel, so that it also works where the file system is mounted noexec.
    """
    first = body.split(b"\n", 1)[0].decode(errors="replace").rstrip()
    if not first.startswith("#!") or not first[2:].strip():
        return "sh"
    words = first[2:].strip().split(None, 1)
    return " ".join(quote(word) for word in words)


def _environment(scope: Scope) -> str:
    values = {"HAMGR_NODE": scope.node_name, "HAMGR_COMPONENT": scope.component, "HAMGR_VERB": scope.verb}
    for name, value in sorted(scope.variables.items()):
        if isinstance(value, str):
            values[f"HAMGR_VAR_{name}"] = value
        elif value is not None:
            values[f"HAMGR_VAR_{name}"] = json.dumps(value, sort_keys=True, ensure_ascii=False)
    lines = []
    for name, text in values.items():
        if len(text.encode(errors="replace")) > VARIABLE_BYTES_MAX:
            raise scope.error(("script",), f"variable {name} has more than {VARIABLE_BYTES_MAX} bytes")
        try:
            lines.append(f"export {name}={quote(text)}\n")
        except NotSayable as error:
            raise scope.error(("script",), f"variable {name} {error}") from error
    return "".join(lines)


_BEFORE = """\
umask 077
[ -d "$box" ] || mkdir -p "$box" || fail "cannot make $box"
# One attempt at a time runs on a node: what is here was left by one that was killed.
for old in "$box"/*; do
  [ ! -e "$old" ] || rm -f "$old"
done
"""

_UNKNOWN = """\
printf '%s\\n' 'a script without a check cannot say beforehand what it would do'
done_ unknown
"""
