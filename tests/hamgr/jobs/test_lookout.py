"""Looking at nodes before a job is begun: real shells, and everything that can keep them from answering."""

import asyncio
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from backends.memory.executor import MemoryExecutor
from backends.memory.node import MemoryNode
from hamgr.jobs import lookout, sights
from hamgr.jobs.lookout import Lookout
from hamgr.jobs.scripts import CannotPrepare
from hamgr.jobs.sights import NodeSeen, Verdict
from statemachine.manifest import Manifest, StepSpec
from statemachine.model import Job, Node, State
from statemachine.phases import PlannedStep
from statemachine.words import JobKind
from tests.statemachine.fleet import Fleet, component, manifest

CHANGE = "printf '%s\\n' '--- a' '+++ b' -old +new; echo hamgr: would change"
SAME = "echo hamgr: unchanged"
PERHAPS = "echo hamgr: unknown"


class Previews:
    """Previews by the step's name, or by node and step."""

    def __init__(self, **scripts: str) -> None:
        self.scripts = scripts

    async def previews(
        self, state: State, job: Job, node: Node, steps: Sequence[PlannedStep]
    ) -> list[bytes | CannotPrepare]:
        names = [step.spec.name for step in steps]
        texts = [self.scripts.get(f"{node.name}_{name}", self.scripts.get(name, SAME)) for name in names]
        return [CannotPrepare(text) if text.startswith("cannot") else text.encode() for text in texts]


def shell(script: bytes) -> tuple[float, int, bytes]:
    done = subprocess.run(["sh", "-s"], input=script, stdout=subprocess.PIPE, check=False)
    return 0.0, done.returncode, done.stdout


class Scene:
    """Two discovered nodes that are to become `web`, and what their steps are."""

    def __init__(self, *steps: StepSpec, nodes: int = 2, **more: Any) -> None:
        web = component("app", commission=steps, verify=(StepSpec(name="answers", check=True),))
        content: Manifest = replace(manifest(web), **more)
        fleet = Fleet()
        fleet.bundle(1, content)
        self.memory = MemoryExecutor()
        self.machines: dict[str, MemoryNode] = {}
        for number in range(1, nodes + 1):
            name = f"w{number}"
            machine = MemoryNode(name=name, sight=shell)
            self.memory.attach(machine, f"{name}.example")
            fleet.sight(name, host_key=machine.host_key)
            self.machines[name] = machine
        self.fleet = fleet

    async def look(self, previews: Previews, *, timeout_s: float = 30.0, **job: Any) -> list[NodeSeen]:
        self.looked = 0
        made = self.fleet.clone().submit(JobKind.COMMISSION, *self.machines, role="web", **job)
        other = self.fleet.clone()
        other.submit(JobKind.COMMISSION, *self.machines, role="web", **job)
        found = Lookout(executor=self.memory, previews=previews)
        return await found.look(other.state, other.job(made), timeout_s=timeout_s, looked=self._one_more)

    def _one_more(self) -> None:
        self.looked += 1


def told(seen: NodeSeen) -> list[tuple[str, str, str]]:
    return [(one.step.spec.name, one.verdict.value, one.note) for one in seen.steps]


async def test_every_step_says_what_it_would_do_with_its_diff_and_proofs_are_only_named() -> None:
    scene = Scene(StepSpec(name="page"), StepSpec(name="conf"), StepSpec(name="run"))
    one, two = await scene.look(Previews(page=CHANGE, run=PERHAPS))
    assert told(one) == [
        ("page", "would-change", ""),
        ("conf", "unchanged", ""),
        ("run", "unknown", "it cannot say beforehand"),
        ("answers", "unknown", ""),
    ]
    assert [step.diff for step in one.steps] == ["--- a\n+++ b\n-old\n+new", "", "", ""]
    assert [step.proof for step in one.steps] == [False, False, False, True]
    assert (one.verdict, one.error, told(two)) == (Verdict.WOULD_CHANGE, "", told(one))
    assert one.steps[0].diff is two.steps[0].diff, "equal diffs are kept once"
    assert not any(machine.launches for machine in scene.machines.values())


async def test_a_node_changes_nothing_only_when_every_step_says_so() -> None:
    scene = Scene(StepSpec(name="page"), StepSpec(name="run"))
    assert (await scene.look(Previews()))[0].verdict is Verdict.UNCHANGED
    assert (await scene.look(Previews(run=PERHAPS)))[0].verdict is Verdict.UNKNOWN
    assert (await scene.look(Previews(run=PERHAPS, page=CHANGE)))[0].verdict is Verdict.WOULD_CHANGE


async def test_a_node_that_cannot_be_looked_at_is_told_and_the_others_are_looked_at() -> None:
    scene = Scene(StepSpec(name="page"))
    scene.memory.set_up(scene.machines["w1"], False)
    one, two = await scene.look(Previews(page=CHANGE))
    assert one.error.startswith("could not look: nothing listens on")
    assert (one.verdict, [step.note for step in one.steps]) == (
        Verdict.UNKNOWN,
        ["it was not looked at", ""],
    )
    assert (two.error, two.verdict) == ("", Verdict.WOULD_CHANGE)
    assert scene.looked == 2, "those that cannot be looked at are counted, too"


async def test_a_node_that_is_known_to_be_unreachable_is_not_dialled() -> None:
    scene = Scene(StepSpec(name="page"))
    scene.machines["w1"].sight = lambda _script: pytest.fail("it was asked")
    job = scene.fleet.submit(JobKind.COMMISSION, *scene.machines, role="web")
    scene.fleet.unreachable("w1")
    found = Lookout(executor=scene.memory, previews=Previews())
    one, two = await found.look(scene.fleet.state, scene.fleet.job(job), timeout_s=5)
    assert one.error == "could not look: it is unreachable: silent"
    assert two.error == ""


async def test_a_node_that_answers_too_slowly_is_told_when_the_time_is_over() -> None:
    scene = Scene(StepSpec(name="page"))
    scene.machines["w1"].sight = lambda _script: (60.0, 0, b"")
    one, two = await scene.look(Previews(), timeout_s=0.3)
    assert one.error.startswith("could not look: had not looked in")
    assert two.verdict is Verdict.UNCHANGED


async def test_nodes_whose_turn_does_not_come_in_time_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "NODES_AT_ONCE", 1)
    scene = Scene(StepSpec(name="page"))
    scene.machines["w1"].sight = lambda _script: (60.0, 0, b"")
    _, two = await scene.look(Previews(), timeout_s=0.3)
    assert two.error == "could not look: there was no time left for it; plan for fewer nodes at once"


async def test_no_more_nodes_are_looked_at_at_once_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "NODES_AT_ONCE", 3)
    scene = Scene(StepSpec(name="page"), nodes=12)
    now, most = 0, 0
    ask = scene.memory.look

    async def counted(*args: Any, **more: Any) -> Any:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        try:
            return await ask(*args, **more)
        finally:
            now -= 1

    monkeypatch.setattr(scene.memory, "look", counted)
    assert len(await scene.look(Previews())) == 12
    assert most == 3


async def test_a_step_that_cannot_be_prepared_is_broken_and_the_others_are_looked_at() -> None:
    scene = Scene(StepSpec(name="page"), StepSpec(name="conf"))
    one, two = await scene.look(Previews(w1_page="cannot render port", conf=CHANGE))
    assert told(one)[:2] == [
        ("page", "unknown", "it cannot be prepared: cannot render port"),
        ("conf", "would-change", ""),
    ]
    assert [step.broken for step in one.steps] == [True, False, False]
    assert not any(step.broken for step in two.steps)


async def test_a_preview_that_fails_or_says_nothing_is_unknown_and_says_why() -> None:
    scene = Scene(StepSpec(name="page"), StepSpec(name="conf"), StepSpec(name="mute"), StepSpec(name="last"))
    one, _ = await scene.look(
        Previews(page="echo 'no diff here' >&2; exit 127", mute="echo hello", conf="exit 0", last=CHANGE)
    )
    assert told(one)[:4] == [
        ("page", "unknown", "could not look: it ended with 127: no diff here"),
        ("conf", "unknown", "could not look: it ended with 0: "),
        ("mute", "unknown", "could not look: it ended with 0: hello"),
        ("last", "would-change", ""),
    ]


async def test_a_diff_that_is_too_long_is_cut_and_the_verdict_is_still_known() -> None:
    scene = Scene(StepSpec(name="page"), StepSpec(name="conf"))
    flood = "i=0; while [ $i -lt 30000 ]; do echo +line $i; i=$((i+1)); done; echo hamgr: would change"
    one, _ = await scene.look(Previews(page=flood, conf=CHANGE))
    assert told(one)[:2] == [
        ("page", "would-change", "its diff is long; a part in the middle is left out"),
        ("conf", "would-change", ""),
    ]
    assert "[...]" in one.steps[0].diff
    assert one.steps[0].diff.endswith("+line 29999")
    assert len(one.steps[0].diff) <= sights.STEP_BYTES_MAX


async def test_all_diffs_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "DIFFS_BYTES_MAX", 10)
    scene = Scene(StepSpec(name="page"))
    one, two = await scene.look(Previews(w1_page="echo +1234567; echo hamgr: would change", page=CHANGE))
    assert one.steps[0].diff == "+1234567"
    assert (two.steps[0].diff, two.steps[0].verdict) == ("", Verdict.WOULD_CHANGE)
    assert "left out" in two.steps[0].note


async def test_a_handler_would_run_when_a_step_that_names_it_would_change() -> None:
    scene = Scene(
        StepSpec(name="page", notify=("reload",)),
        StepSpec(name="conf", notify=("restart",)),
        StepSpec(name="run", notify=("check",)),
        StepSpec(name="reload", handler=True),
        StepSpec(name="restart", handler=True),
        StepSpec(name="check", handler=True),
    )
    one, _ = await scene.look(Previews(page=CHANGE, run=PERHAPS, reload="exit 9", restart="exit 9"))
    assert told(one)[3:6] == [
        ("reload", "would-change", "notified by a step that changes"),
        ("restart", "unchanged", ""),
        ("check", "unknown", "it may be notified"),
    ]


async def test_secrets_are_not_shown_neither_the_new_ones_nor_the_old_ones() -> None:
    steps = (StepSpec(name="page"), StepSpec(name="conf"), StepSpec(name="key"))
    scene = Scene(*steps, secrets=("password",), variables={"password": "s3cret!"})
    diff = "printf '%s\\n' '--- /etc/x' -0ldOne +hunter22 +more; echo hamgr: would change"
    previews = Previews(page=diff, conf="echo 'no login with hunter22'; exit 1", key="cannot say hunter22")
    one, _ = await scene.look(previews, variables={"password": "hunter22"})
    assert one.steps[0].diff.splitlines() == [
        "--- /etc/x",
        "-*** (not shown: this file has secrets)",
        "+********",
        "+more",
    ]
    assert one.steps[1].note == "could not look: it ended with 1: no login with ********"
    assert one.steps[2].note == "it cannot be prepared: cannot say ********"


async def test_a_script_that_would_end_the_others_ends_only_itself() -> None:
    scene = Scene(StepSpec(name="page"), StepSpec(name="conf"))
    heredoc = "cat >/dev/null <<'E'\n)\nE\necho hamgr: unchanged"
    one, _ = await scene.look(Previews(page="exec 2>&1; cd /; set -e; false", conf=heredoc))
    assert [step.verdict.value for step in one.steps[:2]] == ["unknown", "unchanged"]


async def test_a_job_that_only_verifies_is_not_looked_at() -> None:
    scene = Scene(StepSpec(name="page"))
    scene.fleet.drive(scene.fleet.submit(JobKind.COMMISSION, *scene.machines, role="web"))
    job = scene.fleet.submit(JobKind.VERIFY, *scene.machines)
    found = Lookout(executor=scene.memory, previews=Previews(answers="exit 1"))
    for seen in await found.look(scene.fleet.state, scene.fleet.job(job), timeout_s=5):
        assert (seen.verdict, seen.error, [step.proof for step in seen.steps]) == (
            Verdict.UNCHANGED,
            "",
            [True],
        )
