"""`playbook`: an Ansible playbook, run on the node itself by the ansible-playbook that is installed there.

1. It runs like any other step: detached, adopted by the next leader, killed by a cancel. An Ansible on the
   leader's machine would end with it, and nobody could say what it had done.
2. It gets the files around it (all below its directory), and the node's variables as extra variables,
   beside `hamgr_node` and `hamgr_facts`; `extra_vars` come on top. None of them are in an argument.
3. Its host is the node alone, with a local connection. A playbook without a play for it is a failure.
4. Changed means that a task says so. To verify means check mode without a change; a preview is check mode
   too, with differences unless the bundle has secrets, in a place that is removed afterwards.
5. On a practice node, which has no machine of its own, it is not run.
"""

import json
from collections.abc import Iterator
from posixpath import dirname

from hamgr.bundles.schema import PlaybookModel, StepModel
from hamgr.bundles.shell import PRELUDE, quote, write_to
from hamgr.bundles.steps.scope import Complaint, FileUse, Scope
from hamgr.bundles.yaml import Path
from statemachine.words import Value

SHOWN_BYTES_MAX = 56 * 1024
"""Of the output, in a preview: its end."""
VARIABLES_FILE = ".hamgr-variables.json"


def texts(step: StepModel) -> Iterator[tuple[Path, str]]:
    yield from _strings(_model(step).extra_vars, ("playbook", "extra_vars"))


def files(step: StepModel) -> Iterator[FileUse]:
    yield FileUse(("playbook", "source"), _model(step).source, template=False, script=True)


def complaints(step: StepModel) -> Iterator[Complaint]:
    del step
    yield from ()


def apply(step: StepModel, scope: Scope) -> str:
    return _run(step, scope, _BOX, "", _APPLY)


def verify(step: StepModel, scope: Scope) -> str:
    return _run(step, scope, _BOX, "--check", _VERIFY)


def preview(step: StepModel, scope: Scope) -> str:
    return _run(step, scope, _SCRATCH, "--check" if scope.secrets else "--check --diff", _PREVIEW)


def _model(step: StepModel) -> PlaybookModel:
    if step.playbook is None:
        raise AssertionError("the schema lets a step be of one kind, and this one is a playbook")
    return step.playbook


def _strings(value: Value, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(below, (*path, key))


def _rendered(value: Value, path: Path, scope: Scope) -> Value:
    if isinstance(value, str):
        return scope.text(path, value)
    if isinstance(value, dict):
        return {key: _rendered(below, (*path, key), scope) for key, below in value.items()}
    if isinstance(value, list):
        return [_rendered(below, (*path, index), scope) for index, below in enumerate(value)]
    return value


def _run(step: StepModel, scope: Scope, box: str, mode: str, ending: str) -> str:
    model = _model(step)
    directory = dirname(model.source)
    around = f"{directory}/" if directory else ""
    own = {name: file for name, file in scope.files.items() if name.startswith(around)}
    extra = _rendered(dict(model.extra_vars), ("playbook", "extra_vars"), scope)
    variables: dict[str, Value] = {**scope.variables, **(extra if isinstance(extra, dict) else {})}
    variables |= {"hamgr_node": scope.node_name, "hamgr_facts": scope.context["facts"]}
    text = json.dumps(variables, sort_keys=True, ensure_ascii=False)
    parts = [
        PRELUDE,
        f"name={quote(f'{scope.component}-{scope.verb}-{scope.step}')} node={quote(scope.node_name)}\n",
        f"playbook={quote(model.source)} mode={quote(mode)} shown_max={SHOWN_BYTES_MAX}\n",
        f"quiet={'yes' if ending is _PREVIEW else ''}\n",
        _BEGIN,
        box,
    ]
    for name, file in sorted(own.items()):
        parts.append(f'file=$box/{quote(name)}\n[ -d "${{file%/*}}" ] || mkdir -p "${{file%/*}}"\n')
        parts.append(write_to('"$file"', file.data))
        parts.append('chmod 700 "$file"\n' if file.executable else "")
    parts.append(f"variables=$box/{VARIABLES_FILE}\n" + write_to('"$variables"', text.encode()))
    return "".join([*parts, _PLAY, ending])


_BEGIN = """\
if [ -n "$root" ]; then
  printf 'hamgr: practice node: playbook %s is not run\\n' "$playbook"
  done_ unchanged
fi
command -v ansible-playbook >/dev/null 2>&1 ||
  fail 'there is no ansible-playbook on this node; install ansible-core by a step before this one'
umask 077
"""

_BOX = """\
box=$state/playbooks/$name
# One attempt at a time runs on a node: what is here was left by one that was killed.
rm -rf "$state/playbooks" && mkdir -p "$box" || fail "cannot make $box"
"""

_SCRATCH = """\
box=$(mktemp -d "${TMPDIR:-/tmp}/hamgr-look.XXXXXX") || fail 'cannot make a temporary directory'
trap 'rm -rf "$box"' EXIT
trap 'exit 1' HUP INT TERM
"""

_PLAY = """\
umask 022 # for what the playbook makes; what is in the box cannot be reached by others
{
  cd "$box" && env ANSIBLE_NOCOLOR=1 ANSIBLE_STDOUT_CALLBACK=default ANSIBLE_RETRY_FILES_ENABLED=0 \\
    ANSIBLE_DISPLAY_SKIPPED_HOSTS=0 ANSIBLE_HOME="$box/.ansible" ANSIBLE_LOCAL_TEMP="$box/.local" \\
    ANSIBLE_REMOTE_TEMP="$box/.remote" ANSIBLE_PYTHON_INTERPRETER=auto_silent LC_ALL=C.UTF-8 \\
    ansible-playbook -i "$node," -c local -e "@$variables" $mode "$playbook" </dev/null 2>&1
  echo $? >"$box/.hamgr-code"
} | if [ -n "$quiet" ]; then cat >"$box/.hamgr-output"; else tee "$box/.hamgr-output"; fi
read -r code <"$box/.hamgr-code" || fail 'ansible-playbook did not say how it ended'
changed=$(sed -n '/^PLAY RECAP/,$s/^.*[[:space:]]changed=\\([0-9][0-9]*\\)[[:space:]].*$/\\1/p' \\
  "$box/.hamgr-output" | sed -n '$p')
"""

_APPLY = """\
rm -rf "$box"
[ "$code" = 0 ] || fail "the playbook ended with exit status $code"
[ -n "$changed" ] || fail "no play of $playbook is for this node; write \\`hosts: all\\`"
[ "$changed" = 0 ] || done_ changed
done_ unchanged
"""

_VERIFY = """\
rm -rf "$box"
[ "$code" = 0 ] || fail "the playbook ended with exit status $code in check mode"
[ -n "$changed" ] || fail "no play of $playbook is for this node; write \\`hosts: all\\`"
[ "$changed" = 0 ] || fail "$changed tasks of the playbook would change something"
done_ unchanged
"""

_PREVIEW = """\
# Equal previews read equal: without the names of this one's temporary files.
tail -c "$shown_max" "$box/.hamgr-output" | sed "s#$box/.local/ansible-local-[^/]*/[^/]*/##g;s#$box/##g"
rm -rf "$box"
if [ "$code" != 0 ] || [ -z "$changed" ]; then
  printf 'check mode ended with exit status %s, so nobody can say beforehand\\n' "$code"
  done_ unknown
fi
[ "$changed" = 0 ] || done_ 'would change'
done_ unchanged
"""
