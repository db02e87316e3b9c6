"""How the figures of `presence` are shown. That it finds what dies, tests/cluster/test_presence.py shows."""

import dataclasses

from tests.bench import presence

FOUND = presence.Found(
    nodes=300, dead_s=[6.0], sshd_s=[20.0], half_s=9.0, half_events=1, replicas_ms=5.0, nodes_ms=20.0
)


def test_the_table_says_whether_the_goal_was_reached() -> None:
    assert "none over 10 s, reached" in presence.table(FOUND)
    assert "none over 10 s, MISSED" in presence.table(dataclasses.replace(FOUND, dead_s=[6.0, 11.0]))
    assert "none over 10 s, MISSED" in presence.table(dataclasses.replace(FOUND, half_s=10.1))
