"""Links between members: made, lost, made again; with whom, and what gets through. Over real TLS."""

import asyncio
import contextlib
import dataclasses
import logging
from datetime import UTC, datetime, timedelta

import pytest

from hamgr.raft.port import CannotStart
from hamgr.raft.wire.frames import FRAME_BYTES_MAX
from tests.hamgr.raft.wire import kit
from tests.hamgr.raft.wire.kit import QUICK, Replica, member, until


class Proxy:
    """Stands before a replica; what comes from who dialled can be held up."""

    def __init__(self, address: str) -> None:
        self.connections = 0
        self.open = asyncio.Event()
        self.open.set()
        self._host, _, self._port = address.rpartition(":")
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._server = await asyncio.start_server(self._serve, host, int(port), limit=1 << 14)

    async def _serve(self, reader, writer) -> None:
        self.connections += 1
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection(self._host, int(self._port))
            self._writers += [writer, back]
            await asyncio.gather(self._pump(reader, back, self.open), self._pump(there, writer, None))

    @staticmethod
    async def _pump(reader, writer, gate) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 14):
                if gate is not None:
                    await gate.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def close(self) -> None:
        self.open.set()
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.05)


async def test_messages_arrive_in_order_with_their_sender_and_as_they_were(replicas) -> None:
    one, other, third = await replicas.linked(3)
    sent = [{"type": "t", "number": number, "data": b"x" * (number % 7 * 40_000)} for number in range(300)]
    for message in sent:
        other.links.send(one.me.id, message)
    third.links.send(one.me.id, {"type": "third"})
    await until(lambda: len(one.received) == 301)
    assert [message for sender, message in one.received if sender == other.me.id] == sent
    assert (third.me.id, {"type": "third"}) in one.received
    await until(lambda: other.links.queued_bytes(one.me.id) == 0)


async def test_a_message_to_several_is_encoded_once(replicas, monkeypatch) -> None:
    one, other, third = await replicas.linked(3)
    encoded = []
    real = one.links.send.__globals__["frames"].encode
    monkeypatch.setattr(
        "hamgr.raft.wire.frames.encode", lambda message: encoded.append(message) or real(message)
    )
    message = {"type": "append_entries"}
    one.links.send(other.me.id, message)
    one.links.send(third.me.id, message)
    one.links.send(third.me.id, {"type": "append_entries"})  # equal, but not the same
    await until(lambda: len(other.received) == 1 and len(third.received) == 2)
    assert len(encoded) == 2


async def test_a_process_that_is_gone_is_known_at_once_and_one_that_is_back_is_found(replicas) -> None:
    one, other = await replicas.linked()
    assert one.links.hellos[other.me.id] == other.hello
    begun = asyncio.get_running_loop().time()
    await other.links.close()
    await until(lambda: one.count("refused", other.me))
    assert asyncio.get_running_loop().time() - begun < 0.5
    assert [event for event, _ in one.events] == ["up", "down", "refused"]
    one.links.send(other.me.id, {"type": "lost"})
    assert one.links.counters["dropped_without_link"] == 1

    again = await replicas.added(other.me, starts=2)
    again.know(one.me)
    await until(lambda: one.count("up", other.me) == 2 and again.count("up", one.me))
    assert one.links.hellos[other.me.id] == again.hello
    await kit.talk(one, again)
    assert [event for event, _ in one.events] == ["up", "down", "refused", "up"]
    assert other.received == []


async def test_a_peer_that_is_not_there_yet_is_not_called_lost(replicas) -> None:
    absent = member("r2")
    one = await replicas.added(member("r1"))
    one.know(absent)
    await until(lambda: one.links.counters["dials_failed"] >= 3)
    assert one.events == []


async def test_a_link_that_is_cut_again_and_again_is_dialled_ever_more_rarely(replicas) -> None:
    one, other = await replicas.linked()

    async def cut() -> None:
        while True:
            for peer in list(other.links._acceptor._members):
                other.links._acceptor._members[peer].abort()
            await asyncio.sleep(0.002)

    cutting = asyncio.ensure_future(cut())
    await asyncio.sleep(1.0)
    await until(lambda: one.count("up", other.me) >= 3)
    cutting.cancel()
    assert 3 <= one.count("up", other.me) <= 25
    await until(lambda: one.count("up", other.me) == one.count("down", other.me) + 1)
    await kit.talk(one, other)


async def test_another_replica_at_the_address_is_not_taken_for_the_member(replicas, caplog) -> None:
    one, other = await replicas.linked()
    third = member("r3")
    one.know(other.me, dataclasses.replace(third, raft=other.me.raft))
    await until(lambda: one.links.counters["wrong_identity"] >= 5)
    assert one.count("up", third) == 0
    assert one.count("up", other.me) == 1
    await until(lambda: "is replica" in caplog.text)
    await kit.talk(one, other)


async def test_a_removed_member_is_cut_off_at_once_and_cannot_come_back(replicas) -> None:
    one, other, third = await replicas.linked(3)
    one.know(third.me)
    await until(lambda: other.count("down", one.me) and one.count("down", other.me))
    other.links.send(one.me.id, {"type": "late"})
    await until(lambda: one.links.counters["non_members"] >= 2)
    assert one.received == []
    assert other.me.id not in one.links.hellos
    assert one.links._acceptor._members.keys() == {third.me.id}
    await kit.talk(one, third)


async def test_a_member_with_another_address_is_dialled_there(replicas) -> None:
    one, other = await replicas.linked()
    moved = dataclasses.replace(other.me, raft=member("r2").raft)
    again = await replicas.added(other.me, starts=2, address=moved.raft)
    again.know(one.me)
    one.know(moved)
    await until(lambda: one.count("up", other.me) == 2 and again.count("up", one.me))
    await kit.talk(one, again)


async def test_a_copy_of_a_data_folder_is_refused_and_the_first_one_stays(replicas) -> None:
    one, other = await replicas.linked()
    copy = await replicas.added(other.me, address=member("r2").raft)  # as often started, another process
    copy.know(one.me)
    await until(lambda: one.links.counters["bad_hellos"] or copy.links.counters["bad_hellos"])
    assert copy.events == []
    assert one.links.hellos[other.me.id] == other.hello
    assert one.count("down", other.me) == 0
    await kit.talk(one, other)


async def test_a_wiped_data_folder_is_refused(replicas) -> None:
    one, other = await replicas.linked()
    await other.links.close()
    await until(lambda: one.count("down", other.me))
    wiped = await replicas.added(other.me, folder=b"g" * 16)
    wiped.know(one.me)
    await until(lambda: one.links.counters["bad_hellos"] >= 2)
    assert one.count("up", other.me) == 1
    assert wiped.events == []


async def test_a_later_start_elsewhere_takes_over_and_the_earlier_one_gets_nothing_more(replicas) -> None:
    one, other = await replicas.linked()
    later = await replicas.added(other.me, starts=2, address=member("r2").raft)
    later.know(one.me)
    await until(lambda: later.count("up", one.me) and one.count("down", other.me))
    received = len(other.received)
    await until(lambda: one.links.counters["bad_hellos"])
    one.links.send(other.me.id, {"type": "secret"})
    assert len(other.received) == received
    assert one.count("up", other.me) == 1


async def test_a_block_in_one_direction_leaves_the_other_open_and_ends_the_blocked_link(replicas) -> None:
    front, other = member("front"), await replicas.added(member("r2"))
    proxy = Proxy(other.me.raft)
    await proxy.start(front.raft)
    try:
        one = await replicas.added(
            member("r1"), settings=dataclasses.replace(QUICK, buffer_bytes_max=1 << 20)
        )
        one.know(dataclasses.replace(other.me, raft=front.raft))
        other.know(one.me)
        await until(lambda: one.count("up", other.me) and other.count("up", one.me))
        await kit.talk(one, other)
        received = len(other.received)
        proxy.open.clear()
        while not one.links.counters["cut_for_backlog"]:
            one.links.send(other.me.id, {"type": "t", "data": b"x" * 200_000})
            assert one.links.queued_bytes(other.me.id) < 3 << 20
            await asyncio.sleep(0)
        await until(lambda: one.count("down", other.me))
        other.links.send(one.me.id, {"type": "still"})
        await until(lambda: one.received[-1][1] == {"type": "still"})
        assert other.count("down", one.me) == 0
        assert len(other.received) <= received + 1
        proxy.open.set()
        await until(lambda: one.count("up", other.me) == 2)
        await kit.talk(one, other)
    finally:
        await proxy.close()


async def test_a_connection_that_cannot_be_written_for_long_is_dropped(replicas) -> None:
    front, other = member("front"), await replicas.added(member("r2"))
    proxy = Proxy(other.me.raft)
    await proxy.start(front.raft)
    try:
        one = await replicas.added(member("r1"))
        one.know(dataclasses.replace(other.me, raft=front.raft))
        other.know(one.me)
        await until(lambda: one.count("up", other.me))
        proxy.open.clear()
        for _ in range(16):
            one.links.send(other.me.id, {"type": "t", "data": b"x" * 1_000_000})
        await until(lambda: one.count("down", other.me), 20)
        assert one.links.counters["cut_for_backlog"] == 0
    finally:
        await proxy.close()


async def test_a_message_that_no_peer_would_take_is_not_sent_and_the_link_lives(replicas, caplog) -> None:
    one, other = await replicas.linked()
    one.links.send(other.me.id, {"type": "t", "data": b"x" * FRAME_BYTES_MAX})
    assert one.links.counters["oversized_messages"] == 1
    assert "larger than" in caplog.text
    largest = {"type": "t", "data": b"x" * (FRAME_BYTES_MAX - 64)}
    one.links.send(other.me.id, largest)
    await until(lambda: other.received == [(one.me.id, largest)])
    await kit.talk(one, other)


async def test_an_address_in_use_is_named_with_the_way_out(replicas) -> None:
    one = await replicas.added(member("r1"))
    with pytest.raises(CannotStart, match=f"{one.me.raft} cannot be listened on .*stop what uses it"):
        await replicas.added(dataclasses.replace(member("r2"), raft=one.me.raft))


async def test_new_certificates_are_used_for_new_links_and_old_links_stay(replicas, certificates) -> None:
    one, other = await replicas.linked()
    not_after = datetime.now(UTC) + timedelta(days=90)
    fresh = certificates.save(certificates.ours.issue_replica("r1", one.me.id, not_after=not_after))
    one.links.reload(fresh)
    assert one.links.counters["reloads"] == 1
    assert abs(one.links.expires_at - not_after.timestamp()) < 2
    assert one.count("down", other.me) == 0
    fresh.certificate.unlink()  # what is loaded is loaded
    await other.links.close()
    await until(lambda: one.count("down", other.me))
    again = await replicas.added(other.me, starts=2)
    again.know(one.me)
    await until(lambda: one.count("up", other.me) == 2 and again.count("up", one.me))
    await kit.talk(one, again)


async def test_a_bad_file_changes_nothing(replicas, certificates, caplog) -> None:
    one, other = await replicas.linked()
    good, before = (
        certificates.replica(one.me.id),
        (one.links.endpoint.server_tls, one.links.endpoint.client_tls),
    )
    bad = [
        dataclasses.replace(good, certificate=good.ca.parent / "absent"),
        dataclasses.replace(good, key=certificates.replica(other.me.id).key),
        certificates.replica(other.me.id),
        certificates.save(certificates.ours.issue_replica("r1", one.me.id, **kit.EXPIRED)),
    ]
    for number, credentials in enumerate(bad, start=1):
        one.links.reload(credentials)
        assert one.links.counters["reloads_refused"] == number
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == len(bad)
    assert (one.links.endpoint.server_tls, one.links.endpoint.client_tls) == before
    await kit.talk(one, other)


async def test_a_certificate_that_runs_out_soon_is_warned_about(certificates, caplog) -> None:
    me = member("r1")
    soon = datetime.now(UTC) + timedelta(days=29)
    certificates._made[me.id] = certificates.save(
        certificates.ours.issue_replica("r1", me.id, not_after=soon)
    )
    one = Replica(certificates, me)
    await one.links.start()
    try:
        assert one.links.counters["expiry_warnings"] == 1
        assert "runs out in 29 days" in caplog.text
        later = certificates.save(certificates.ours.issue_replica("r1", me.id))
        one.links.reload(later)
        assert one.links.counters["expiry_warnings"] == 1
    finally:
        await one.links.close()


async def test_a_replica_does_not_start_with_anothers_certificate(certificates) -> None:
    me, other = member("r1"), member("r2")
    certificates._made[me.id] = certificates.replica(other.id)
    with pytest.raises(CannotStart, match=f"is for replica {other.id}"):
        Replica(certificates, me)


async def test_closing_ends_everything_and_tells_nobody(replicas) -> None:
    one, other = await replicas.linked()
    events = list(one.events)
    await one.links.close()
    await until(lambda: other.count("refused", one.me))
    assert one.events == events
    one.links.send(other.me.id, {"type": "late"})
    await asyncio.sleep(0.05)
    assert other.received == []
