"""A loop that does not get its turn is noticed, said and counted."""

import asyncio
import time

from hamgr.raft.stalls import Meter, Watch


def test_what_is_late_by_no_more_than_the_limit_is_no_stall(caplog):
    meter = Meter("API", 0.1)
    meter.note(0.1)
    assert meter.stalls.count == 0
    assert not caplog.records


def test_stalls_are_counted_and_said_once_in_a_while(caplog):
    meter = Meter("API", 0.1)
    for late_s in (0.2, 0.5, 0.3):
        meter.note(late_s)
    assert (meter.stalls.count, meter.stalls.longest_s) == (3, 0.5)
    assert [record.getMessage() for record in caplog.records] == [
        "the API loop was late by 0.200 s (1 times so far); see which process or disk holds it up"
    ]


async def test_a_loop_that_is_blocked_is_noticed_and_one_that_sleeps_is_not():
    meter = Meter("API", 0.1)
    watch = Watch(meter, 0.05)
    watch.start()
    await asyncio.sleep(0.3)
    before = meter.stalls.count
    time.sleep(0.4)  # the blocking is what is tested: nothing else of the loop runs meanwhile
    await asyncio.sleep(0.1)
    watch.stop()
    noticed = meter.stalls.count  # more than one where the machine stood still too
    assert noticed > before
    assert meter.stalls.longest_s > 0.3
    time.sleep(0.3)  # as before, with nobody watching
    await asyncio.sleep(0.1)
    assert meter.stalls.count == noticed
