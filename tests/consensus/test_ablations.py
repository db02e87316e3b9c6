"""The laws see what they are there for: each protection is taken away, and some cluster must notice.

What is given narrows a world down to where the mistake matters. Where nobody looks inside (`watching` false),
what notices is what people outside could know: their writes, their reads, and who stopped.
"""

import re

import pytest

from tests.consensus import ablations
from tests.consensus.ablations import Plant
from tests.consensus.world import UNASKED, judge

NO_MEMBERS: dict[str, object] = {
    "peace": False,
    "changes": False,
    "spares": 0,
    "old_one": False,
    "autopilot": False,
}
LOSSES: dict[str, object] = {
    "peace": False,
    "changes": False,
    "spares": 0,
    "old_one": False,
    "autopilot": True,
    "fault_every_s": 1.0,
}
CASES: list[tuple[Plant, str, dict[str, object]]] = [
    (ablations.acknowledge_before_the_sync, "a promise is on the disk", {}),
    (
        ablations.acknowledge_in_memory,
        "no acknowledged write is lost|the same at an index",
        {
            **NO_MEMBERS,
            "watching": False,
            "voters": 3,
            "clients": 6,
            "fault_every_s": 2.0,
            "faults": ("cut_power_everywhere",),
        },
    ),
    (
        ablations.commit_while_a_snapshot_comes,
        "takes effect once|stands for ever|the same at an index",
        {
            **NO_MEMBERS,
            "voters": 3,
            "clients": 12,
            "compact_every": 12,
            "trailing_entries": 0,
            "fault_every_s": 1.5,
            "faults": ("cut_off_leader",),
        },
    ),
    (
        ablations.believe_acknowledgements_of_any_term,
        "believes of others",
        {**NO_MEMBERS, "voters": 5, "clients": 8, "fault_every_s": 2.5, "faults": ("late_witness",)},
    ),
    (ablations.stand_without_asking_before, "does not disturb", {"peace": True, "voters": 3}),
    (
        ablations.count_a_vote_as_often_as_it_comes,
        "voted for by a majority",
        {**NO_MEMBERS, "voters": 5, "fault_every_s": 0.1, "faults": ("bad_weather", "kill")},
    ),
    (ablations.cut_the_log_at_whatever_is_sent, "only when its disk failed", {}),
    (
        ablations.read_without_asking_the_majority,
        "a read sees",
        {
            **NO_MEMBERS,
            "watching": False,
            "voters": 3,
            "clients": 12,
            "faults": ("cut_off_leader", "freeze_leader"),
        },
    ),
    (
        ablations.change_two_things_at_once,
        "one change of the configuration at a time",
        {"changes": True, "peace": False},
    ),
    (
        ablations.forget_the_configuration_in_the_log,
        "the latest in the log",
        {"changes": True, "peace": False},
    ),
    (
        ablations.let_go_of_several_at_once,
        "one change of the configuration at a time",
        {**LOSSES, "voters": 5, "faults": ("split", "be_away")},
    ),
    (
        ablations.let_go_of_several_at_once,
        "no acknowledged write is lost|the same at an index|sees what was acknowledged|no older than its age",
        {**LOSSES, "voters": 5, "watching": False, "faults": ("split",), "storm_s": 20.0},
    ),
    (ablations.vote_for_everybody, "a promise is on the disk", {}),
    (
        ablations.count_age_from_when_an_answer_came,
        "no older than its age says",
        {**NO_MEMBERS, "clients": 12},
    ),
]
SEEDS_MAX = 40


@pytest.mark.parametrize(("plant", "law", "given"), CASES, ids=[f"{case[0].__name__}" for case in CASES])
def test_the_laws_see_what_was_taken_away(
    monkeypatch: pytest.MonkeyPatch, plant: Plant, law: str, given: dict[str, object]
) -> None:
    plant(monkeypatch)
    others = []
    for seed in range(SEEDS_MAX):
        verdict = judge(seed, **given)
        assert verdict.law != UNASKED, verdict.how  # the plant itself is broken
        if re.search(law, verdict.law):
            print(f"{plant.__name__}: seed {seed}: {verdict.law}")
            return
        others += [verdict.law] if verdict.law else []
    pytest.fail(f"{SEEDS_MAX} clusters did not notice; they said: {others}")
