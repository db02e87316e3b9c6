"""A step that restarts its machine, over SSH, on a host of the lab that really goes down and comes back."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from backends.ports import Host
from backends.ssh.executor import SSHExecutor
from backends.ssh.settings import SSHSettings
from hamgr.bundles import LoadedBundle, compile_check, compile_step
from hamgr.jobs.attempt import Attempt, AttemptSettings, NodeCalls
from statemachine.jobs.work import StepDue
from statemachine.model import Result
from statemachine.phases import PlannedStep
from statemachine.words import Ending, Phase, Verb
from tests.lab.kit import Lab
from tests.lab.kit.slots import claimed_lab
from tests.lab.observe import boot_id

pytestmark = pytest.mark.lab
KEY = "work.00.c.s"


class Clock:
    def now(self) -> float:
        return time.time()


@pytest.fixture
def host() -> Iterator[Lab]:
    with claimed_lab() as lab:
        lab.up(1)
        yield lab


def due(bundle: LoadedBundle, *, checking: bool = False) -> StepDue:
    spec = bundle.manifest.components["c"].verbs[Verb.COMMISSION][0]
    step = PlannedStep(
        key=KEY,
        place=0,
        phase=Phase.WORK,
        bundle=bundle.digest,
        component="c",
        verb=Verb.COMMISSION,
        spec=spec,
    )
    return StepDue(
        step=step,
        key=f"{KEY}.check" if checking else KEY,
        attempt=1,
        checking=checking,
        launched_at=None,
        not_before=0.0,
        stop=False,
    )


async def restarted(lab: Lab, bundle: LoadedBundle) -> tuple[Result, Result]:
    """Run the step and then, as after any attempt that was lost, its check."""
    executor = SSHExecutor(SSHSettings(client_key_paths=(lab.ssh_key,)))
    target = Host(name="n1", address=lab.address("n1"), port=22, user="root", host_key=lab.host_key("n1"))
    calls = NodeCalls(
        executor=executor,
        host=lambda: target,
        epoch=1,
        job="lab-1",
        # Less than it takes to boot: only the step itself may bear with the machine.
        settings=AttemptSettings(unreachable_deadline_s=0.1),
    )
    found = []
    try:
        await calls.fence()
        for owed, compile_ in ((due(bundle), compile_step), (due(bundle, checking=True), compile_check)):
            script = compile_(bundle, "c", Verb.COMMISSION, "s", variables={}, facts={}, node_name="n1")
            calls.expect_restart(owed, time.time())
            attempt = Attempt(calls=calls, clock=Clock(), stopping=asyncio.Event())
            found.append(await attempt.finish(owed, script, time.time()))
    finally:
        await executor.close()
    return found[0], found[1]


def test_a_machine_is_restarted_once_and_what_follows_runs_under_its_next_boot(host, bundle_with):
    bundle = bundle_with({"reboot": {}, "timeout_s": 120})
    before = boot_id(host, "n1")
    with host.in_hub():
        step, check = asyncio.run(restarted(host, bundle))
    assert (step.ending, step.exit_code) == (Ending.LOST, None)
    assert (check.ending, check.exit_code) == (Ending.EXITED, 0), check
    assert check.changed is True
    after = boot_id(host, "n1")
    assert f"restarted: boot {before.strip()} is over, this is {after.strip()}\n" in check.output_tail
    launches = host.read("n1", "/var/lib/hamgr/launches").decode().splitlines()
    assert launches == [f"1 lab-1 {KEY} 1", f"1 lab-1 {KEY}.check 1"]
