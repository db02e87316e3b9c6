"""Strategies that a bundle has names for: chosen, taken by default, overridden field by field, refused."""

from dataclasses import replace

import pytest

from statemachine import codec
from statemachine.commands import PutSchedule, SubmitJob
from statemachine.jobs import grounds
from statemachine.manifest import Manifest
from statemachine.model import Job
from statemachine.outcomes import Reason
from statemachine.rollout import NamedRollout, OnFailure, Promotion, Rollout, Window
from statemachine.rollouts import named
from statemachine.words import JobKind
from tests.statemachine.fleet import Fleet, component, manifest

NODES = ("d1", "d2", "d3", "w1", "w2", "w3")
NIGHT = Window(cron="0 22 * * *", duration_s=3600.0)
CAREFUL = Rollout(
    canary=1, promotion=Promotion.MANUAL, max_failed_percent=34, on_failure=OnFailure.PAUSE, windows=(NIGHT,)
)


def content(**defaults: dict[JobKind, str]) -> Manifest:
    """Return a manifest with roles web and db; `defaults` are those of a role, or of the bundle (`all`)."""
    plain = manifest(component("app"), roles={"web": (), "db": ()})
    return replace(
        plain,
        roles={
            name: replace(role, default_rollouts=defaults.get(name, {})) for name, role in plain.roles.items()
        },
        rollouts={
            "careful": NamedRollout(rollout=CAREFUL, max_parallel=2),
            "quick": NamedRollout(max_parallel=3, max_failed=2),
        },
        default_rollouts=defaults.get("all", {}),
    )


def fleet(**defaults: dict[JobKind, str]) -> Fleet:
    """Three nodes each of web and of db in service; the bundle with the strategies is the current one."""
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app"), roles={"web": (), "db": ()}))
    fleet.in_service(*NODES[3:], role="web")
    fleet.in_service(*NODES[:3], role="db")
    fleet.bundle(2, content(**defaults))
    return fleet


def upgraded(fleet: Fleet, *nodes: str, rollout: Rollout | None = None, **fields: object) -> Job:
    asked = {"rollout": rollout} if rollout is not None else {}
    return fleet.job(fleet.submit(JobKind.UPGRADE, *(nodes or NODES), **asked, **fields))


def test_a_job_has_the_strategy_that_it_names() -> None:
    job = upgraded(fleet(), *NODES[:3], rollout=Rollout(name="careful"))
    assert job.rollout == replace(CAREFUL, name="careful")
    assert (job.max_parallel, job.max_failed) == (2, 1)
    assert [task.wave for task in job.tasks.values()] == [0, 1, 1]


def test_what_a_request_says_itself_wins_field_by_field() -> None:
    asked = Rollout(name="careful", canary=2, max_parallel_percent=50, windows=())
    job = upgraded(fleet(), rollout=asked, said=("windows",))
    assert job.rollout == replace(CAREFUL, name="careful", canary=2, max_parallel_percent=50, windows=())
    assert job.max_parallel == 3, "a share stands in the place of the count that the strategy says"


def test_what_is_as_if_nothing_was_said_can_be_said_too() -> None:
    job = upgraded(fleet(), rollout=Rollout(name="careful"), said=("on_failure", "windows", "canary"))
    assert job.rollout == Rollout(name="careful", max_failed_percent=34)


def test_counts_beside_the_strategy_win_too() -> None:
    job = upgraded(fleet(), rollout=Rollout(name="quick"), max_parallel=1, max_failed=0)
    assert (job.max_parallel, job.max_failed) == (1, 0)
    job = upgraded(fleet(), rollout=Rollout(name="careful"), max_failed=3)
    assert (job.max_failed, job.rollout.max_failed_percent) == (3, None)


def test_a_job_that_names_none_has_its_roles_or_else_the_bundles() -> None:
    world = fleet(all={JobKind.UPGRADE: "quick"}, db={JobKind.UPGRADE: "careful"})
    assert upgraded(world, *NODES[:3]).rollout.name == "careful"
    assert upgraded(world, *NODES[3:]).rollout.name == "quick"
    assert world.job(world.submit(JobKind.VERIFY, *NODES[3:])).rollout == Rollout()
    job = upgraded(fleet(db={JobKind.UPGRADE: "careful"}), *NODES[:3], rollout=Rollout(name="none"))
    assert (job.rollout, job.max_parallel) == (Rollout(), 1)


def test_a_role_can_be_without_the_strategy_that_the_others_have() -> None:
    world = fleet(all={JobKind.UPGRADE: "quick"}, db={JobKind.UPGRADE: "none"})
    assert upgraded(world, *NODES[:3]).rollout == Rollout()


def test_nodes_whose_roles_have_other_strategies_need_one_to_be_named() -> None:
    world = fleet(db={JobKind.UPGRADE: "careful"})
    before = world.state
    refused = world.refuse(Reason.INVALID, SubmitJob, kind=JobKind.UPGRADE, nodes=NODES)
    assert refused.message == (
        "the nodes have rollouts of their own, and not the same (db: careful, web: none)"
    )
    assert world.state.jobs == before.jobs
    assert upgraded(world, rollout=Rollout(name="quick")).max_parallel == 3


@pytest.mark.parametrize(
    ("rollout", "said", "says"),
    [
        (Rollout(name="carefull"), (), "the bundle has no rollout 'carefull'"),
        (Rollout(name="careful"), ("speed",), "a strategy says nothing of speed"),
        (Rollout(name="careful", canary=7), (), "7 canaries are asked for, of 6 nodes"),
    ],
)
def test_what_means_nothing_is_refused_and_nothing_is_begun(
    rollout: Rollout, said: tuple[str, ...], says: str
) -> None:
    world = fleet()
    before = world.state
    refused = world.refuse(
        Reason.INVALID, SubmitJob, kind=JobKind.UPGRADE, nodes=NODES, rollout=rollout, said=said
    )
    assert says in refused.message
    assert world.state.jobs == before.jobs


def test_a_bundle_that_is_pushed_later_changes_no_job() -> None:
    world = fleet()
    job = upgraded(world, rollout=Rollout(name="careful")).id
    world.bundle(3, manifest(component("app"), roles={"web": (), "db": ()}))
    assert world.job(job).rollout.name == "careful"
    assert world.job(job).rollout.windows == (NIGHT,)


def test_what_a_plan_keeps_is_looked_up_no_more() -> None:
    world = fleet()
    command = SubmitJob(
        request_id="r",
        at=world.at,
        actor="a",
        kind=JobKind.VERIFY,
        nodes=NODES,
        rollout=Rollout(name="careful", canary=2),
    )
    kept = named.resolved(world.state, command, [world.node(node) for node in NODES])
    assert isinstance(kept, SubmitJob)
    world.bundle(3, manifest(component("app"), roles={"web": (), "db": ()}))
    again = named.resolved(world.state, grounds.fixed(kept, NODES, kept.bundle), [])
    assert isinstance(again, SubmitJob)
    assert again.rollout == replace(CAREFUL, name="careful", canary=2)


def test_a_schedule_that_names_a_strategy_that_is_not_there_is_refused() -> None:
    world = fleet()
    request = SubmitJob(
        request_id="", at=0.0, actor="", kind=JobKind.UPGRADE, nodes=NODES[:3], rollout=Rollout(name="carful")
    )
    fields = {"cron": "0 3 * * *", "zone": "UTC", "next_at": world.at + 60}
    unknown = world.refuse(
        Reason.INVALID, PutSchedule, name="n", request=codec.encode_command(request), **fields
    )
    assert "no rollout 'carful'" in unknown.message
