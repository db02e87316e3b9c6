"""Strategies in a bundle: what comes out of them, and where it is written what cannot be."""

import pytest

from hamgr.bundles import load
from statemachine.rollout import NamedRollout, OnFailure, Promotion, Rollout, Window
from statemachine.words import JobKind

ROLLOUTS = """\
rollouts:
  careful:
    canary: 1
    promotion: manual
    max_parallel: 25%
    max_failed: 2
    min_healthy: 1m
    on_failure: pause
    windows:
      - {cron: "0 22 * * sat", duration: 4h, zone: Europe/Madrid}
  quick: {max_parallel: 50}
default_rollouts: {upgrade: careful, verify: quick}
"""


def test_strategies_become_part_of_the_manifest(tar_of, sound):
    sound["hamgr.yaml"] = (
        sound["hamgr.yaml"].replace(
            "components: [store]\n", "components: [store]\n    default_rollouts: {upgrade: none}\n"
        )
        + ROLLOUTS
    )
    manifest = load(tar_of(sound)).manifest
    assert manifest.rollouts == {
        "careful": NamedRollout(
            rollout=Rollout(
                canary=1,
                promotion=Promotion.MANUAL,
                max_parallel_percent=25,
                min_healthy_s=60.0,
                on_failure=OnFailure.PAUSE,
                windows=(Window(cron="0 22 * * sat", duration_s=14_400.0, zone="Europe/Madrid"),),
            ),
            max_failed=2,
        ),
        "quick": NamedRollout(max_parallel=50),
    }
    assert manifest.default_rollouts == {JobKind.UPGRADE: "careful", JobKind.VERIFY: "quick"}
    assert manifest.roles["db"].default_rollouts == {JobKind.UPGRADE: "none"}
    assert manifest.roles["web"].default_rollouts == {}


HEAD = "version: 1\nroles: {}\n"
WRONG = {
    "unknown-key": (
        "rollouts:\n  careful: {canry: 1}\n",
        "4:13: unknown key `canry` (did you mean `canary`?)",
    ),
    "share": (
        "rollouts:\n  careful: {max_parallel: many}\n",
        "4:27: `max_parallel`: must be a number of nodes from 1 to",
    ),
    "time": (
        "rollouts:\n  careful: {min_healthy: soon}\n",
        "4:26: `min_healthy`: must be a number of seconds",
    ),
    "promotion": (
        "rollouts:\n  careful:\n    promotion: by hand\n",
        "5:16: `promotion`: ",
    ),
    "contradiction": (
        "rollouts:\n  careful: {promotion: manual}\n",
        "4:3: promotion is manual, and there is no canary that could be promoted",
    ),
    "deadlines": (
        "rollouts:\n  careful: {min_healthy: 5m, progress_deadline: 1m}\n",
        "4:3: progress_deadline, 60 s, is over before a node can be healthy",
    ),
    "share-over-100": ("rollouts:\n  careful: {max_failed: 101%}\n", "4:3: max_failed is 101 %"),
    "never": (
        'rollouts:\n  careful:\n    windows:\n      - {cron: "0 0 30 2 *", duration: 1h}\n',
        "6:9: window: '0 0 30 2 *'",
    ),
    "zone": (
        'rollouts:\n  careful:\n    windows:\n      - {cron: "0 0 * * *", duration: 1h, zone: Mars/North}\n',
        "6:9: window: 'Mars/North' is no time zone",
    ),
    "moment": (
        'rollouts:\n  careful: {start_at: "2026-11-30T22:00Z"}\n',
        "4:13: unknown key `start_at`",
    ),
    "gap": ("rollouts:\n  careful: {below_minimum: true}\n", "4:13: unknown key `below_minimum`"),
    "name": ("rollouts:\n  Careful: {}\n", "4:3: `Careful` is no name for a rollout"),
    "none": ("rollouts:\n  none: {}\n", "4:3: `none` has a meaning of its own"),
    "default": (
        "rollouts: {careful: {}}\ndefault_rollouts: {upgrade: carefull}\n",
        "4:29: there is no rollout `carefull` (did you mean `careful`?)",
    ),
    "default-of": ("default_rollouts: {drain: none}\n", "3:20: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_strategy_is_told_with_its_place(problems_of, name):
    text, expected = WRONG[name]
    found = problems_of(hamgr=HEAD + text)
    assert len(found) == 1, found
    assert found[0].startswith(f"hamgr.yaml:{expected}"), found


def test_a_roles_default_has_to_be_there_too(problems_of):
    text = "version: 1\nroles:\n  web: {default_rollouts: {upgrade: careful}}\n"
    assert problems_of(hamgr=text) == ["hamgr.yaml:3:37: there is no rollout `careful`"]
