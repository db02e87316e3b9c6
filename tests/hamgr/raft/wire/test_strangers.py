"""Whoever is no member, or says what no member says: closed, counted, heard by nobody, in nobody's way."""

import asyncio
import dataclasses
import pickle
import socket
import ssl
import tracemalloc
import uuid
from functools import partial

import pytest

from hamgr.raft.wire import frames
from hamgr.raft.wire.channel import Channel
from hamgr.security.authority import Authority
from tests.hamgr.raft.wire import kit
from tests.hamgr.raft.wire.kit import Certificates, context, knock, until

HUGE = b"\xff\xff\xff\xff"


class Pickled:
    def __reduce__(self):
        return (pytest.fail, ("what came was unpickled",))


def as_nobody(certificates, peer, hello):
    return context(None), ()


def in_plain_text(certificates, peer, hello):
    return None, (hello,)


def with_a_recorded_plain_session(certificates, peer, hello):
    return None, (hello + frames.encode({"type": "request_vote", "term": 9}) * 100,)


def by_a_foreign_authority_with_a_members_name(certificates, peer, hello):
    return context(certificates.save(certificates.foreign.issue_replica("r2", peer.id), ca="foreign")), (
        hello,
    )


def as_a_stranger_with_our_certificate(certificates, peer, hello):
    return context(certificates.save(certificates.ours.issue_replica("r9", str(uuid.uuid4())))), (hello,)


def as_a_client(certificates, peer, hello):
    return context(certificates.save(certificates.ours.issue_client(peer.id))), (hello,)


def after_the_certificate_ran_out(certificates, peer, hello):
    return context(certificates.save(certificates.ours.issue_replica("r2", peer.id, **kit.EXPIRED))), (hello,)


def before_the_certificate_is_in_force(certificates, peer, hello):
    return context(certificates.save(certificates.ours.issue_replica("r2", peer.id, **kit.NOT_YET))), (hello,)


def for_another_cluster_of_the_same_authority(certificates, peer, hello):
    other = Authority("other", certificates.ours._certificate, certificates.ours._key)
    return context(certificates.save(other.issue_replica("r2", peer.id))), (hello,)


def with_tls_1_2(certificates, peer, hello):
    return context(certificates.replica(peer.id), tls=ssl.TLSVersion.TLSv1_2), (hello,)


def with_a_frame_that_claims_4_gib(certificates, peer, hello):
    return context(certificates.replica(peer.id)), (HUGE + b"x" * 1000,)


def with_a_first_frame_larger_than_a_hello(certificates, peer, hello):
    return context(certificates.replica(peer.id)), ((1 << 17).to_bytes(4, "big") + b"x" * 1000,)


def with_pickle(certificates, peer, hello):
    data = pickle.dumps(Pickled())
    return context(certificates.replica(peer.id)), (len(data).to_bytes(4, "big") + data,)


def with_a_hello_to_another_cluster(certificates, peer, hello):
    message = frames.Decoder().feed(hello)[0] | {"cluster": "other"}
    return context(certificates.replica(peer.id)), (frames.encode(message),)


def with_another_members_hello(certificates, peer, hello):
    message = frames.Decoder().feed(hello)[0] | {"replica": str(uuid.uuid4())}
    return context(certificates.replica(peer.id)), (frames.encode(message),)


def from_another_data_folder(certificates, peer, hello):
    message = frames.Decoder().feed(hello)[0] | {"folder": b"g" * 16, "starts": 7}
    return context(certificates.replica(peer.id)), (frames.encode(message),)


def from_a_copied_data_folder(certificates, peer, hello):
    message = frames.Decoder().feed(hello)[0] | {"nonce": b"g" * 16}
    return context(certificates.replica(peer.id)), (frames.encode(message),)


def with_two_hellos_at_once(certificates, peer, hello):
    return context(certificates.replica(peer.id)), (hello + hello,)


def without_a_hello(certificates, peer, hello):
    return context(certificates.replica(peer.id)), (frames.encode({"type": "request_vote", "term": 9}),)


WAYS = {
    as_nobody: "without_certificate",
    in_plain_text: "handshakes_failed",
    with_a_recorded_plain_session: "handshakes_failed",
    by_a_foreign_authority_with_a_members_name: "untrusted_certificates",
    as_a_stranger_with_our_certificate: "non_members",
    as_a_client: "clients_refused",
    after_the_certificate_ran_out: "untrusted_certificates",
    before_the_certificate_is_in_force: "untrusted_certificates",
    for_another_cluster_of_the_same_authority: "foreign_clusters",
    with_tls_1_2: "handshakes_failed",
    with_a_frame_that_claims_4_gib: "bad_first_frames",
    with_a_first_frame_larger_than_a_hello: "bad_first_frames",
    with_pickle: "bad_first_frames",
    with_a_hello_to_another_cluster: "bad_hellos",
    with_another_members_hello: "bad_hellos",
    from_another_data_folder: "bad_hellos",
    from_a_copied_data_folder: "bad_hellos",
    with_two_hellos_at_once: "bad_first_frames",
    without_a_hello: "bad_hellos",
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_whoever_comes(way, replicas, certificates: Certificates) -> None:
    one, other = await replicas.linked()
    hello = frames.encode(other.hello.encode())
    tls, parts = way(certificates, other.me, hello)
    before, met = dict(one.links.counters), dict(one.links.hellos)

    try:
        heard = await asyncio.to_thread(knock, one.me.raft, tls, *parts)
    except (ssl.SSLError, ConnectionError):
        heard = b""  # it was closed during the handshake

    await until(lambda: one.links.counters[WAYS[way]] == before.get(WAYS[way], 0) + 1)
    assert sum(one.links.counters.values()) == sum(before.values()) + 1
    assert heard == b"" or frames.Decoder().feed(heard)[0]["type"] == "goodbye"
    assert one.links.hellos == met
    assert one.received == []
    assert one.count("down", other.me) == 0
    await kit.talk(one, other)
    assert len(one.received) == 1


async def test_a_member_that_says_hello_again_is_cut_and_makes_a_new_link(replicas) -> None:
    one, other = await replicas.linked()
    other.links.send(one.me.id, other.hello.encode())
    await until(lambda: other.count("up", one.me) == 2)
    assert one.links.counters["cut_for_bad_messages"] == 1
    assert one.received == []
    await kit.talk(one, other)


async def test_a_member_whose_message_the_owner_refuses_is_cut_and_nothing_after_it_is_heard(
    replicas,
) -> None:
    one, other = await replicas.linked()
    for message in ("good", "bad", "after"):
        other.links.send(one.me.id, message)
    await until(lambda: other.count("up", one.me) == 2)
    assert [message for _, message in one.received] == ["good", "bad"]
    assert one.links.counters["cut_for_bad_messages"] == 1
    await kit.talk(one, other)


@pytest.mark.parametrize("rest", [b"", b"x" * 4000], ids=["header", "header and more"])
async def test_a_member_that_claims_4_gib_makes_nobody_allocate_them(replicas, rest) -> None:
    one, other = await replicas.linked()
    tracemalloc.start()
    try:
        channel_of(other, one).write(HUGE + rest)
        await until(lambda: other.count("up", one.me) == 2)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert one.links.counters["cut_for_bad_messages"] == 1
    assert one.received == []
    await kit.talk(one, other)


async def test_a_frame_without_its_end_is_never_heard(replicas, certificates) -> None:
    one, other = await replicas.linked()
    hello = frames.encode(other.hello.encode())
    for part in (hello[:-1], hello[:3], b""):
        tls = context(certificates.replica(other.me.id))
        failed = one.links.counters["handshakes_failed"]
        await asyncio.to_thread(knock, one.me.raft, tls, part, ends=True)
        await until(lambda failed=failed: one.links.counters["handshakes_failed"] == failed + 1)
    channel_of(other, one).write(frames.encode({"type": "request_vote"})[:-1])
    channel_of(other, one).close()
    await until(lambda: other.count("up", one.me) == 2)
    assert one.received == []
    await kit.talk(one, other)


def channel_of(here: kit.Replica, there: kit.Replica) -> Channel:
    """The connection on which one tells the other; to write on it what a replica would not."""
    channel = here.links._diallers[there.me.id].channel
    assert channel is not None
    return channel


async def test_who_takes_his_time_over_the_handshake_is_closed(replicas, certificates) -> None:
    one, other = await replicas.linked()
    slow = asyncio.create_task(asyncio.to_thread(knock, one.me.raft, None, *[b"\x16"] * 40, pause_s=0.05))
    silent = asyncio.create_task(asyncio.to_thread(knock, one.me.raft, None))
    wordless = asyncio.create_task(
        asyncio.to_thread(knock, one.me.raft, context(certificates.replica(other.me.id)))
    )
    await kit.talk(one, other)
    await asyncio.gather(slow, silent, wordless)
    await until(
        lambda: one.links.counters["handshakes_too_slow"] + one.links.counters["handshakes_failed"] == 3
    )
    assert one.links.counters["handshakes_too_slow"] >= 2
    await kit.talk(one, other)


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
async def test_200_idle_connections_keep_no_member_out(replicas, source) -> None:
    """From the members' own host, and from another."""
    patient = dataclasses.replace(kit.QUICK, welcome_timeout_s=30.0)  # nobody goes because his time is up
    one, other = await replicas.linked(settings=patient)
    host, _, port = one.me.raft.rpartition(":")
    dial = partial(socket.create_connection, (host, int(port)), timeout=5, source_address=(source, 0))
    idle = []
    try:
        while len(idle) < 200:
            idle += [await asyncio.to_thread(dial)]
        await other.links.close()
        await until(lambda: one.count("down", other.me))
        again = await replicas.added(other.me, starts=2)
        again.know(one.me)
        await until(lambda: again.count("up", one.me) and one.count("up", other.me) == 2, 2.0)
        await kit.talk(one, again)
        assert one.links.counters["strangers_pushed_out"] >= 200 - 2 * kit.QUICK.strangers_max
        await until(lambda: sum(map(was_closed, idle)) >= 200 - 2 * kit.QUICK.strangers_max)
    finally:
        for connection in idle:
            connection.close()
    assert one.received == [(other.me.id, message) for _, message in one.received]


def was_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
