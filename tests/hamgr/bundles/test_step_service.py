"""`service` steps against a service manager whose every answer the test decides."""

import pytest

from hamgr.bundles import Form, compile_preview, compile_step
from statemachine.words import Verb

SYSTEMCTL = r"""#!/bin/sh
# Knows one service by three files: active, enabled, broken (what then does not work).
here=$HAMGR_ROOT/manager
case $1 in is-active|is-enabled|status) ;; *) printf '%s\n' "$*" >>"$here/calls" ;; esac
broken=; [ ! -f "$here/broken" ] || read -r broken <"$here/broken"
case $1 in
is-active)
  [ "$broken" != bus ] || { echo 'Failed to connect to bus' >&2; exit 1; }
  if [ -f "$here/active" ]; then cat "$here/active"; grep -qx active "$here/active" || exit 3
  else echo inactive; exit 3; fi ;;
is-enabled) [ -f "$here/enabled" ] ;;
enable) : >"$here/enabled" ;;
disable) rm "$here/enabled" ;;
start|restart|reload)
  [ "$broken" != start ] || { echo 'Job failed.' >&2; exit 1; }
  [ "$broken" = dies ] || echo active >"$here/active" ;;
stop) rm "$here/active" ;;
status) echo "the last lines of its log" ;;
esac
"""
RUNNING = {"service": {"name": "web", "state": "running", "restart_on": ["/etc/a b.conf", "/etc/c"]}}
STOPPED = {"service": {"name": "web", "state": "stopped"}}


class Manager:
    def __init__(self, node):
        self.node = node
        self.here = node.root / "manager"
        self.here.mkdir()
        (node.root / "etc").mkdir()
        node.install("systemctl", SYSTEMCTL)

    def set(self, name, value="active"):
        (self.here / name).write_text(f"{value}\n")

    def watched(self, text):
        (self.node.root / "etc/a b.conf").write_text(text)

    def calls(self):
        """What was asked to change since the last time."""
        file = self.here / "calls"
        found = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return found


@pytest.fixture
def manager(any_node):
    return Manager(any_node)


def apply(manager, script):
    done = manager.node.run(script)
    return done.returncode, (done.stdout + done.stderr).strip().split("\n")[-1]


def test_a_new_service_is_enabled_and_started_and_then_left_alone(manager, compiled):
    manager.watched("1")
    script = compiled(RUNNING)
    assert apply(manager, script) == (0, "hamgr: changed")
    assert manager.calls() == ["enable web.service", "daemon-reload", "start web.service"]
    assert apply(manager, script) == (0, "hamgr: unchanged")
    assert manager.calls() == []


def test_a_changed_file_restarts_the_service_once(manager, compiled):
    manager.watched("1")
    script = compiled(RUNNING)
    apply(manager, script)
    manager.calls()
    manager.watched("2")
    assert apply(manager, script) == (0, "hamgr: changed")
    assert manager.calls() == ["daemon-reload", "restart web.service"]
    assert apply(manager, script) == (0, "hamgr: unchanged")
    (manager.node.root / "etc/c").write_text("a second file appears")
    assert apply(manager, script) == (0, "hamgr: changed")
    assert manager.calls() == ["daemon-reload", "restart web.service"]


def test_a_service_that_hamgr_never_started_is_restarted_once(manager, compiled):
    manager.watched("1")
    manager.set("active")
    manager.set("enabled")
    assert apply(manager, compiled(RUNNING)) == (0, "hamgr: changed")
    assert manager.calls() == ["daemon-reload", "restart web.service"]


def test_a_restart_that_failed_is_tried_again_the_next_time(manager, compiled):
    manager.watched("1")
    script = compiled(RUNNING)
    apply(manager, script)
    manager.watched("2")
    manager.set("broken", "start")
    manager.calls()
    assert apply(manager, script) == (1, "hamgr: systemctl restart web.service did not succeed")
    (manager.here / "broken").unlink()
    manager.calls()
    assert apply(manager, script) == (0, "hamgr: changed")
    assert manager.calls() == ["daemon-reload", "restart web.service"]


def test_without_watched_files_a_running_service_is_left_alone(manager, compiled):
    manager.set("active")
    manager.set("enabled")
    assert apply(manager, compiled({"service": {"name": "web", "state": "running"}})) == (
        0,
        "hamgr: unchanged",
    )
    assert manager.calls() == []


def test_enabled_may_differ_from_running(manager, compiled):
    manager.set("enabled")
    step = {"service": {"name": "web.service", "state": "running", "enabled": False}}
    assert apply(manager, compiled(step)) == (0, "hamgr: changed")
    assert manager.calls() == ["disable web.service", "daemon-reload", "start web.service"]
    step = {"service": {"name": "web", "state": "stopped", "enabled": True}}
    assert apply(manager, compiled(step)) == (0, "hamgr: changed")
    assert manager.calls() == ["stop web.service", "enable web.service"]


def test_a_stopped_service_is_stopped_disabled_and_forgotten(manager, compiled):
    manager.watched("1")
    apply(manager, compiled(RUNNING))
    manager.calls()
    assert apply(manager, compiled(STOPPED)) == (0, "hamgr: changed")
    assert manager.calls() == ["stop web.service", "disable web.service"]
    assert apply(manager, compiled(STOPPED)) == (0, "hamgr: unchanged")
    assert manager.calls() == []
    assert not list((manager.node.root / "var/lib/hamgr/services").iterdir())


def test_a_service_that_does_not_stay_up_fails_the_step_and_shows_its_log(manager, compiled):
    manager.set("broken", "dies")
    done = manager.node.run(compiled(RUNNING))
    assert done.returncode == 1
    assert done.stderr == "the last lines of its log\nhamgr: web.service was started and did not stay up\n"
    assert not (manager.node.root / "var/lib/hamgr/services/web.service").exists()


def test_a_service_manager_that_does_not_answer_is_not_a_stopped_service(manager, compiled):
    manager.set("broken", "bus")
    for step in (RUNNING, STOPPED):
        for verb in (Verb.COMMISSION, Verb.VERIFY):
            expected = "hamgr: the service manager does not say whether web.service runs (exit status 1)"
            assert apply(
                manager, compiled({"service": {**step["service"], "enabled": False}}, verb=verb)
            ) == (
                1,
                expected,
            )
    assert manager.calls() == []


def test_a_node_without_systemctl_says_so(manager, compiled):
    (manager.node.root / "bin/systemctl").unlink()
    done = manager.node.run(compiled(RUNNING).replace(b"command -v systemctl", b"command -v no-systemctl"))
    assert done.returncode == 1
    assert (
        done.stderr == "hamgr: there is no systemctl on this node, so nobody can be asked about web.service\n"
    )


def test_verify_passes_on_what_apply_left_and_changes_nothing(manager, compiled):
    manager.watched("1")
    apply(manager, compiled(RUNNING))
    manager.calls()
    before = manager.node.tree()
    assert apply(manager, compiled(RUNNING, verb=Verb.VERIFY)) == (0, "hamgr: unchanged")
    assert manager.node.tree() == before


def test_verify_sees_each_way_in_which_a_running_service_can_be_wrong(manager, compiled):
    manager.watched("1")
    verify = compiled(RUNNING, verb=Verb.VERIFY)
    apply(manager, compiled(RUNNING))
    manager.calls()
    manager.watched("2")
    found = [apply(manager, verify)[1]]
    (manager.here / "enabled").unlink()
    found.append(apply(manager, verify)[1])
    manager.set("active", "failed")
    found.append(apply(manager, verify)[1])
    assert found == [
        "hamgr: web.service still runs with files that have changed since it was started",
        "hamgr: web.service is not enabled; it would not run after a reboot",
        "hamgr: web.service does not run; it is failed",
    ]
    assert manager.calls() == []


def test_verify_of_a_stopped_service_sees_that_it_runs_or_would(manager, compiled):
    verify = compiled(STOPPED, verb=Verb.VERIFY)
    assert apply(manager, verify) == (0, "hamgr: unchanged")
    manager.set("enabled")
    assert apply(manager, verify) == (1, "hamgr: web.service is enabled; it would run after a reboot")
    manager.set("active", "activating")
    assert apply(manager, verify) == (1, "hamgr: web.service is starting")
    manager.set("active")
    assert apply(manager, verify) == (1, "hamgr: web.service runs")
    assert manager.calls() == []


def test_units_keep_their_kind(manager, compiled):
    for name, unit in {"t.timer": "t.timer", "w@1": "w@1.service", "w@1.2": "w@1.2.service"}.items():
        script = compiled({"service": {"name": name, "state": "running"}}).decode()
        assert f"\nunit={unit}\n" in script


@pytest.mark.parametrize("step", [RUNNING, STOPPED], ids=["running", "stopped"])
def test_a_preview_says_what_apply_then_does_and_asks_for_nothing(manager, compiled, bundle_with, step):
    def preview():
        script = compile_preview(
            bundle_with(step), "c", Verb.COMMISSION, "s", variables={}, facts={}, node_name="n1"
        )
        done = manager.node.run(script)
        assert (done.returncode, done.stderr, manager.calls()) == (0, "", [])
        return done.stdout.splitlines()

    manager.watched("1")
    if step is STOPPED:
        assert preview() == ["hamgr: unchanged"]
        manager.set("active")
        manager.set("enabled")
        assert preview() == ["would disable web.service", "would stop web.service", "hamgr: would change"]
    else:
        assert preview() == ["would enable web.service", "would start web.service", "hamgr: would change"]
    assert apply(manager, compiled(step)) == (0, "hamgr: changed")
    manager.calls()
    assert preview() == ["hamgr: unchanged"]
    if step is RUNNING:
        manager.watched("2")
        assert preview() == ["would restart web.service", "hamgr: would change"]


def handled(bundle_with, state, form):
    """A script of the handler `h`, which a file notifies."""
    step = {"file": {"path": "/etc/c", "content": "x"}, "notify": ["h"]}
    handlers = [{"name": "h", "service": {"name": "web", "state": state}}]
    bundle = bundle_with(step, more={"handlers": handlers})
    return compile_step(bundle, "c", Verb.COMMISSION, "h", form=form, variables={}, facts={}, node_name="n1")


@pytest.mark.parametrize(("state", "verb"), [("restarted", "restart"), ("reloaded", "reload")])
def test_a_handler_restarts_what_runs_and_starts_what_does_not(manager, bundle_with, state, verb):
    preview = handled(bundle_with, state, Form.PREVIEW)
    assert manager.node.run(preview).stdout == f"would {verb} web.service\nhamgr: would change\n"
    script = handled(bundle_with, state, Form.APPLY)
    assert apply(manager, script) == (0, "hamgr: changed")
    assert manager.calls() == ["daemon-reload", "start web.service"]
    assert apply(manager, script) == (0, "hamgr: changed")
    assert manager.calls() == ["daemon-reload", f"{verb} web.service"]
    manager.set("broken", "dies")
    manager.set("active", "failed")
    code, told = apply(manager, script)
    assert (code, told) == (1, "hamgr: web.service was started and did not stay up")
