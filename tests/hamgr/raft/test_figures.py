"""Figures are copies of one moment, and a histogram may be copied while it is written."""

import threading

import pytest

from hamgr.raft.figures import SYNC_BUCKETS_S, Figures, Histogram
from hamgr.raft.memory import MemoryCluster


@pytest.mark.parametrize(
    ("value", "bucket"), [(0.0, 0), (0.5, 0), (1.0, 0), (1.1, 1), (2.0, 1), (2.1, 2), (1e9, 2)]
)
def test_an_observation_counts_in_the_first_bucket_that_holds_it(value: float, bucket: int) -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(value)
    found = histogram.copy()
    assert [place for place, count in enumerate(found.counts) if count] == [bucket]
    assert (found.count, found.total) == (1, value)


@pytest.mark.parametrize("bounds", [(2.0, 1.0), (1.0, 1.0)])
def test_bounds_that_do_not_rise_are_refused(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="do not rise"):
        Histogram(bounds)


def test_a_copy_stays_as_it_was_when_more_is_observed() -> None:
    histogram = Histogram()
    before = histogram.copy()
    histogram.observe(0.002)
    assert (before.count, before.total) == (0, 0.0)
    assert before.counts == (0,) * (len(SYNC_BUCKETS_S) + 1)


def test_a_histogram_that_is_copied_while_it_is_written_never_counts_back() -> None:
    histogram, written = Histogram((0.5,)), 200_000

    def write() -> None:
        for number in range(written):
            histogram.observe(float(number % 2))

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    while writer.is_alive():
        found = histogram.copy()
        counts.append(found.count)
        assert found.counts[0] - found.counts[1] in (0, 1)
    writer.join()
    assert counts == sorted(counts)
    assert histogram.copy().counts == (written // 2, written // 2)
    assert histogram.copy().total == written // 2


def test_what_nobody_measured_is_none_and_not_zero() -> None:
    figures = Figures()
    unknown = (figures.applied_index, figures.commit_index, figures.last_index, figures.first_index)
    assert {*unknown, figures.staleness_s, figures.certificate_expires_at, figures.api_stalls} == {None}


async def test_a_replica_that_is_cut_off_does_not_know_how_old_its_state_is() -> None:
    cluster = MemoryCluster(["r1", "r2", "r3"])
    for name in cluster.names():
        await cluster.replica(name).start()
    follower = next(cluster.replica(name) for name in cluster.names() if name != cluster.leader)
    assert follower.staleness_s == follower.figures.staleness_s == 0.0
    assert follower.figures.voters == cluster.names()
    cluster.isolate(follower.name)
    assert follower.staleness_s is None
    assert not any(peer.connected for peer in follower.figures.peers.values())
    cluster.heal(follower.name)
    assert follower.staleness_s == 0.0
