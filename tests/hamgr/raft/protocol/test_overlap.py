"""A follower forgets only what its leader contradicts, and answers only for what the leader told it."""

import pytest

from hamgr.raft.protocol.overlap import spare_known_entries

LOG = [(b"\0%d" % index, index, term) for index, term in [(5, 1), (6, 1), (7, 2), (8, 2), (9, 2)]]


def message(previous, *entries, commit=9):
    return {
        "type": "append_entries",
        "prevLogIdx": previous[0],
        "prevLogTerm": previous[1],
        "entries": list(entries),
        "commit_index": commit,
    }


@pytest.mark.parametrize("count", [0, 1, 2])
def test_entries_that_are_known_are_spared_and_answered_for_as_far_as_they_were_sent(count):
    said = message((6, 1), *LOG[2 : 2 + count])
    assert spare_known_entries(said, LOG) == 7 + count
    assert (said["prevLogIdx"], said["prevLogTerm"], said["entries"]) == (9, 2, [])
    assert said["commit_index"] == 6 + count


def test_what_reaches_beyond_the_log_is_taken_from_its_end_on():
    said = message((6, 1), *LOG[2:], (b"\0new", 10, 2))
    assert spare_known_entries(said, LOG) is None
    assert (said["prevLogIdx"], said["prevLogTerm"]) == (9, 2)
    assert said["entries"] == [(b"\0new", 10, 2)]
    assert said["commit_index"] == 9


def test_an_entry_that_contradicts_ours_takes_the_place_of_it_and_all_after_it():
    said = message((6, 1), LOG[2], (b"\0other", 8, 3))
    assert spare_known_entries(said, LOG) is None
    assert (said["prevLogIdx"], said["prevLogTerm"]) == (7, 2)
    assert said["entries"] == [(b"\0other", 8, 3)]


@pytest.mark.parametrize("previous", [(4, 1), (10, 2), (6, 9), (None, None)])
def test_a_message_that_does_not_fit_our_log_is_left_to_the_library(previous):
    said = message(previous, (b"\0x", 7, 2))
    before = {**said, "entries": list(said["entries"])}
    assert spare_known_entries(said, LOG) is None
    assert said == before
