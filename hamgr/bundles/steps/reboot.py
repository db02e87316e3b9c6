"""`reboot`: the machine restarts, and what follows runs when it is back.

1. The step writes down, on the disk, under which boot it began; then it asks for the restart and waits to be
   ended by it. It never ends well by itself: that it did is told by its check.
2. Its check holds when the machine runs under another boot id than the one that this step of this job wrote
   down. So a step that was lost is adopted like any other, and the machine is restarted once.
3. A machine that cannot be asked fails the step at once; one that does not go down is told by the time-out.
"""

from collections.abc import Iterator

from hamgr.bundles.schema import RebootModel, StepModel
from hamgr.bundles.shell import PRELUDE, quote, quote_all
from hamgr.bundles.steps.scope import Complaint, FileUse, Scope, literal, program, sayable
from hamgr.bundles.yaml import Path


def texts(step: StepModel) -> Iterator[tuple[Path, str]]:
    for index, word in enumerate(_model(step).command or ()):
        yield ("reboot", "command", index), word


def files(step: StepModel) -> Iterator[FileUse]:
    del step
    yield from ()


def complaints(step: StepModel) -> Iterator[Complaint]:
    for index, word in enumerate(_model(step).command or ()):
        yield from literal(("reboot", "command", index), word, program if index == 0 else sayable)


def apply(step: StepModel, scope: Scope) -> str:
    words = [
        scope.text(("reboot", "command", index), word, program if index == 0 else sayable)
        for index, word in enumerate(_model(step).command or ())
    ]
    ask = f"ask() {{ env {quote_all(words)} </dev/null; }}\n" if words else _ASK
    return PRELUDE + _boot(scope) + ask + _APPLY


def verify(step: StepModel, scope: Scope) -> str:
    del step
    raise scope.error(("reboot",), "a restart cannot be verified")


def preview(step: StepModel, scope: Scope) -> str:
    del step, scope
    return f"{PRELUDE}printf 'would restart the machine\\n'\ndone_ 'would change'\n"


def check(step: StepModel, scope: Scope) -> str:
    """Return shell that exits 0 when the machine has restarted since the step began."""
    del step
    return PRELUDE + _boot(scope) + _CHECK


def _model(step: StepModel) -> RebootModel:
    if step.reboot is None:
        raise AssertionError("the schema lets a step be of one kind, and this one is a reboot")
    return step.reboot


def _boot(scope: Scope) -> str:
    name = f"{scope.component}-{scope.verb}-{scope.step}"
    return f"record=$state/reboots/{quote(name)}\n" + _BOOT


_BOOT = """\
source=/proc/sys/kernel/random/boot_id
# A practice node is started and stopped, and says so in its folder.
[ -z "$root" ] || [ ! -r "$root/run/boot_id" ] || source=$root/run/boot_id
read -r boot <"$source" || fail "cannot read $source, so nobody could tell a restart"
"""

_ASK = """\
ask() {
  if command -v systemctl >/dev/null 2>&1; then
    systemctl reboot </dev/null
  else
    reboot </dev/null
  fi
}
"""

_APPLY = """\
[ -d "${record%/*}" ] || mkdir -p "${record%/*}" || fail "cannot make ${record%/*}"
printf '%s %s\\n' "$HAMGR_JOB" "$boot" >"$record" && sync "$record" && sync "${record%/*}" ||
  fail "cannot store $record, so nothing was restarted"
printf 'asking for a restart of boot %s\\n' "$boot"
ask || fail "the machine cannot be restarted: the command ended with exit status $?"
while :; do sleep 1; done
"""

_CHECK = """\
[ -r "$record" ] || fail 'no restart was asked for'
read -r job before <"$record" || fail "cannot read $record"
[ "$job" = "$HAMGR_JOB" ] || fail 'no restart was asked for by this job'
[ "$boot" != "$before" ] || fail "the machine still runs under boot $before"
printf 'restarted: boot %s is over, this is %s\\n' "$before" "$boot"
done_ changed
"""
