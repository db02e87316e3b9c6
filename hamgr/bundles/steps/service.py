"""`service`: a service of the node's service manager runs, or does not, now and after a reboot.

1. The service manager is whatever `systemctl` on the PATH speaks to.
2. A running service is restarted when the content of a watched file differs from what it was when hamgr
   last started it. That is recorded after the restart: a crash between the two restarts it once more.
3. `daemon-reload` comes before every start and restart, and at no other time.
4. `enabled` follows `state` where the step does not say.
5. To verify means: running and enabled as asked, and restarted since its watched files changed.
6. A handler restarts or reloads: it starts a service that does not run, and leaves alone what `enabled` says.
"""

import re
from collections.abc import Iterator

from hamgr.bundles.schema import ServiceModel, StepModel
from hamgr.bundles.shell import PRELUDE, quote
from hamgr.bundles.steps.scope import Complaint, FileUse, Scope, absolute_path, literal, unit
from hamgr.bundles.yaml import Path

_KINDS = re.compile(r"\.(service|socket|timer|target|path|mount|automount|swap|slice|scope)\Z")
"""The kinds of units (systemd(1)); a name without one means a service, as for systemctl."""


def texts(step: StepModel) -> Iterator[tuple[Path, str]]:
    model = _model(step)
    yield ("service", "name"), model.name
    for index, path in enumerate(model.restart_on):
        yield ("service", "restart_on", index), path


def files(step: StepModel) -> Iterator[FileUse]:
    del step
    yield from ()


def complaints(step: StepModel) -> Iterator[Complaint]:
    model = _model(step)
    yield from literal(("service", "name"), model.name, unit)
    for index, path in enumerate(model.restart_on):
        yield from literal(("service", "restart_on", index), path, absolute_path)


def apply(step: StepModel, scope: Scope) -> str:
    model = _model(step)
    return _beginning(model, scope) + _APPLY[model.state]


def verify(step: StepModel, scope: Scope) -> str:
    model = _model(step)
    return _beginning(model, scope) + _VERIFY[model.state]


def preview(step: StepModel, scope: Scope) -> str:
    model = _model(step)
    return _beginning(model, scope) + _PREVIEW[model.state]


def _model(step: StepModel) -> ServiceModel:
    if step.service is None:
        raise AssertionError("the schema lets a step be of one kind, and this one is a service")
    return step.service


def _beginning(model: ServiceModel, scope: Scope) -> str:
    name = scope.text(("service", "name"), model.name, unit)
    full = name if _KINDS.search(name) else f"{name}.service"
    enabled = model.enabled if model.enabled is not None else model.state != "stopped"
    watched = [
        scope.text(("service", "restart_on", index), path, absolute_path)
        for index, path in enumerate(model.restart_on)
    ]
    sums = " ".join(f'"$root"{quote(path)}' for path in watched)
    return "".join(
        [
            PRELUDE,
            f"unit={quote(full)}\nenable={'yes' if enabled else 'no'}\n",
            "record=$state/services/$unit\nchanged=unchanged\n",
            # A file that is not there has no line, which is content like any other.
            f"watched() {{ sha256sum {sums} 2>/dev/null; }}\n" if watched else "watched() { :; }\n",
            _COMMON,
        ]
    )


_COMMON = """\
command -v systemctl >/dev/null 2>&1 ||
  fail "there is no systemctl on this node, so nobody can be asked about $unit"
active() {
  is=$(systemctl is-active "$unit" 2>/dev/null </dev/null)
  code=$?
  [ "$code" != 0 ] || return 0
  case $is in
    inactive|failed|unknown|activating|deactivating|maintenance) return 1 ;;
  esac
  [ "$code" = 3 ] || [ "$code" = 4 ] ||
    fail "the service manager does not say whether $unit runs (exit status $code)"
  return 1
}
enabled() { systemctl is-enabled "$unit" >/dev/null 2>&1 </dev/null; }
call() {
  systemctl "$@" </dev/null && return
  systemctl status "$unit" >&2 </dev/null
  fail "systemctl $* did not succeed"
}
recorded() { [ -f "$record" ] && old=$(cat "$record") && [ "$old" = "$now" ]; }
"""

_RUNNING_APPLY = """\
now=$(watched)
case $enable in
  yes) enabled || { call enable "$unit"; changed=changed; } ;;
  no) ! enabled || { call disable "$unit"; changed=changed; } ;;
esac
verb=
if active; then
  [ -z "$now" ] || recorded || verb=restart
else
  verb=start
fi
if [ -n "$verb" ]; then
  call daemon-reload
  call "$verb" "$unit"
  active || { systemctl status "$unit" >&2 </dev/null; fail "$unit was started and did not stay up"; }
  [ -d "$state/services" ] || mkdir -p "$state/services" || fail "cannot make $state/services"
  # Not renamed into place: half a record is only another record, and means one more restart.
  printf '%s\\n' "$now" >"$record" || fail "cannot write $record"
  changed=changed
fi
done_ "$changed"
"""

_STOPPED_APPLY = """\
if active || [ "$is" = activating ]; then
  call stop "$unit"
  changed=changed
fi
case $enable in
  yes) enabled || { call enable "$unit"; changed=changed; } ;;
  no) ! enabled || { call disable "$unit"; changed=changed; } ;;
esac
[ ! -e "$record" ] || rm -f "$record" || fail "cannot remove $record"
done_ "$changed"
"""

_RUNNING_VERIFY = """\
active || fail "$unit does not run${is:+; it is $is}"
case $enable in
  yes) enabled || fail "$unit is not enabled; it would not run after a reboot" ;;
  no) ! enabled || fail "$unit is enabled; it would run after a reboot" ;;
esac
now=$(watched)
[ -z "$now" ] || recorded || fail "$unit still runs with files that have changed since it was started"
done_ unchanged
"""

_STOPPED_VERIFY = """\
! active || fail "$unit runs"
[ "$is" != activating ] || fail "$unit is starting"
case $enable in
  yes) enabled || fail "$unit is not enabled" ;;
  no) ! enabled || fail "$unit is enabled; it would run after a reboot" ;;
esac
done_ unchanged
"""

_WOULD = """\
would() { printf 'would %s %s\\n' "$1" "$unit"; changed='would change'; }
case $enable in
  yes) enabled || would enable ;;
  no) ! enabled || would disable ;;
esac
"""

_RUNNING_PREVIEW = (
    _WOULD
    + """\
now=$(watched)
if ! active; then
  would start
elif [ -n "$now" ] && ! recorded; then
  would restart
fi
done_ "$changed"
"""
)

_STOPPED_PREVIEW = (
    _WOULD
    + """\
if active || [ "$is" = activating ]; then
  would stop
fi
done_ "$changed"
"""
)

_HANDLER = """\
call daemon-reload
if active; then call "$verb" "$unit"; else call start "$unit"; fi
active || { systemctl status "$unit" >&2 </dev/null; fail "$unit was started and did not stay up"; }
done_ changed
"""

_HANDLER_PREVIEW = """\
printf 'would %s %s\\n' "$verb" "$unit"
done_ 'would change'
"""

_IS_UP = """\
active || fail "$unit does not run${is:+; it is $is}"
done_ unchanged
"""

_APPLY = {
    "running": _RUNNING_APPLY,
    "stopped": _STOPPED_APPLY,
    "restarted": f"verb=restart\n{_HANDLER}",
    "reloaded": f"verb=reload\n{_HANDLER}",
}
_VERIFY = {
    "running": _RUNNING_VERIFY,
    "stopped": _STOPPED_VERIFY,
    "restarted": _IS_UP,
    "reloaded": _IS_UP,
}
_PREVIEW = {
    "running": _RUNNING_PREVIEW,
    "stopped": _STOPPED_PREVIEW,
    "restarted": f"verb=restart\n{_HANDLER_PREVIEW}",
    "reloaded": f"verb=reload\n{_HANDLER_PREVIEW}",
}
