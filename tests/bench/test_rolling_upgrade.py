"""`rolling_upgrade` works: a tiny run, and what could make its figures wrong. No time is asserted."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import responsiveness, rolling_upgrade
from tests.bench.consensus_client import Refused
from tests.bench.responsiveness import Question, Responsiveness, latency

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:5A21 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:9C40 0100007F:5A21 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0100007F:5A21 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 3 1
   3: 0100007F:9C42 0100007F:5A21 06 00000000:00000000 00:00000000 00000000     0        0 0 3
   4: 0100007F:9C44 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 4 1
"""


@pytest.mark.bench
def test_all_nodes_are_upgraded_in_waves_while_the_api_is_asked(tmp_path: Path) -> None:
    one = rolling_upgrade.measured(tmp_path, tmp_path, nodes=4, wave=2)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    for number in range(1, 5):
        root = tmp_path / f"nodes/group-0/nodes/node-{number:04}"
        assert (root / "etc/bench.conf").read_text() == "version=2\n"
        assert len((root / "var/log/restarts").read_text().splitlines()) == 2
    assert len(one.replicas_s) == 3
    assert 0 < one.leader_rss_mib <= one.leader_rss_mib_max
    assert one.entries > one.writes > 0
    assert one.task_bytes > 0
    assert 0 <= one.slow_syncs <= one.syncs
    assert one.syncs > 0
    assert {title.split(",")[1].strip() for title in one.api} == {"leader", "follower"}
    assert all(0 < each.p50_ms <= each.p99_ms <= each.max_ms for each in one.api.values())
    assert "goals: a dry run looks at every node (4), reached; 99 % of answers within 100 ms" in (
        rolling_upgrade.table(one)
    )


def test_a_percentile_is_a_time_that_so_many_answers_did_not_exceed() -> None:
    hundred = latency([n / 1000 for n in range(100, 0, -1)])
    assert (hundred.count, hundred.p50_ms, hundred.p99_ms, hundred.max_ms) == (100, 50.0, 99.0, 100.0)
    assert latency([0.007]).p99_ms == latency([0.007]).p50_ms == 7.0


def test_connections_are_counted_once_and_only_to_the_nodes_and_only_open_ones() -> None:
    assert rolling_upgrade.established(frozenset({0x5A21, 0x5A22}), TCP) == 1
    assert rolling_upgrade.established(frozenset({0x1F90, 0x5A21}), TCP) == 2
    assert rolling_upgrade.established(frozenset({80}), TCP) == 0


def test_a_figure_is_read_by_its_whole_name() -> None:
    text = """\
# HELP hamgr_raft_last_index x
hamgr_raft_last_index_of 7.0
hamgr_raft_last_index 12.0
hamgr_raft_sync_seconds_bucket{le="0.025"} 3.0
hamgr_raft_sync_seconds_bucket{le="0.05"} 4.0
"""
    assert rolling_upgrade.figure(text, "last_index") == 12.0
    assert rolling_upgrade.figure(text, rolling_upgrade.QUICK_SYNCS) == 4.0


class Server:
    """Answers on a thread of its own: the first request late, and any with `status`."""

    def __init__(self, *, status: str = "200 OK", first_late_s: float = 0.0) -> None:
        self._status = status
        self._late_s = first_late_s
        self.asked = 0
        self.enough = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[tuple[str, int]]:
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_server(self._answer, "127.0.0.1", 0))
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield server.sockets[0].getsockname()
        finally:
            asyncio.run_coroutine_threadsafe(self._close(server), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        await server.wait_closed()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*rest, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                await asyncio.sleep(self._late_s if self.asked == 1 else 0.0)
                writer.write(f"HTTP/1.1 {self._status}\r\ncontent-length: 2\r\n\r\nhi".encode())
                if self.asked == 6:
                    self.enough.set()


def test_a_stall_counts_for_everybody_who_would_have_asked_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(responsiveness, "PERIOD_S", 0.01)
    server = Server(first_late_s=0.05)
    with server.running() as address:
        with Responsiveness(
            [Question(title="x", address=address, request=lambda _: b"GET\r\n\r\n")]
        ) as asked:
            assert server.enough.wait(30.0)
        found = asked.found()["x"]
    assert found.count >= 6
    # Not only the first one waited: those that were due in the meantime did as well.
    late = [taken_s for taken_s in asked._taken_s["x"][:4] if taken_s >= 0.015]
    assert len(late) >= 3


def test_a_refusal_ends_the_run_with_what_was_said() -> None:
    server = Server(status="503 Busy")
    with server.running() as address, pytest.raises(Refused, match="503 Busy"):  # noqa: SIM117 (one after the other)
        with Responsiveness(
            [Question(title="x", address=address, request=lambda _: b"GET\r\n\r\n")]
        ) as asked:
            asked._thread.join(30.0)
