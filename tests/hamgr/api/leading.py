"""A leader by hand: it does the steps of a job's tasks, with the exit status that a story wants."""

from statemachine.commands import FinishAttempt, StartAttempt
from statemachine.jobs import work
from statemachine.model import Result
from statemachine.words import TASK_ENDED, Ending, Phase
from tests.hamgr.api import rig


def drive(cluster: rig.Cluster, job: str, *nodes: str, exit_code: int = 0, output_tail: str = "") -> None:
    """Do the tasks on `nodes` to their end: the work ends with `exit_code`, all else passes."""
    for node in nodes:
        rig.claim(cluster, job, node)
        while cluster.state.jobs[job].tasks[node].state not in TASK_ENDED:
            step(cluster, job, node, exit_code=exit_code, output_tail=output_tail)


def step(cluster: rig.Cluster, job: str, node: str, *, exit_code: int = 0, output_tail: str = "") -> None:
    """Do one step of a task that was claimed."""
    task = cluster.state.jobs[job].tasks[node]
    due = work.step_due(cluster.state, job, node, task.epoch)
    assert due is not None, f"{job} owes nothing on {node}"
    common = {"at": rig.NOW, "actor": "r1", "job": job, "node": node, "epoch": task.epoch}
    cluster.apply(StartAttempt(request_id=rig.rid(), step=due.key, attempt=due.attempt, **common))
    code = exit_code if task.phase is Phase.WORK else 0
    result = Result(
        step=due.key,
        attempt=due.attempt,
        ending=Ending.EXITED,
        exit_code=code,
        output_tail=output_tail if code else "",
    )
    cluster.apply(FinishAttempt(request_id=rig.rid(), result=result, **common))
