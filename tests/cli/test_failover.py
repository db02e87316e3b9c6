"""Servers that die: before they are asked, while they answer, in the middle of a stream."""

import contextlib
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.client import Client
from cli.exits import CliError, Exit
from cli.stream import follow
from tests.cli.conftest import Cli, Replicas
from tests.hamgr.api import rig


@contextlib.contextmanager
def swallowing(target: str, *, times: int = 1) -> Iterator[tuple[str, list[bytes]]]:
    """A server that hands a request on to `target`, gets the answer, and dies instead of telling it."""
    taken: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(times):
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            with caller:
                data = caller.recv(65_536)
                head, _, body = data.partition(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines[1:])
                while len(body) < int(headers.get("Content-Length", "0")):
                    body += caller.recv(65_536)
                method, path, _ = lines[0].split()
                asked = urllib.request.Request(target + path, body or None, headers, method=method)
                with contextlib.suppress(OSError), urllib.request.urlopen(asked, timeout=10) as answer:
                    taken.append(answer.read())
        listener.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", taken
    listener.close()
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_first_server_that_is_down_costs_one_grey_line(live: Cli) -> None:
    live.env["HAMGR_ADDR"] = f"http://127.0.0.1:1,{live.env['HAMGR_ADDR']}"
    ran = live("node", "ls", "-o", "name")
    assert (ran.code, ran.out.split()) == (0, ["w1", "w2", "w3"])
    assert len(ran.err.splitlines()) == 1
    assert "connection refused" in ran.err


def test_a_server_that_dies_after_it_took_the_request_costs_a_second_try_and_no_second_effect(
    live: Cli, replicas: Replicas
) -> None:
    with swallowing(live.env["HAMGR_ADDR"]) as (dying, taken):
        live.env["HAMGR_ADDR"] = f"{dying},{live.env['HAMGR_ADDR']}"
        ran = live("discover", "10.0.0.1", "--detach")
    assert (ran.code, ran.out) == (0, "j-4\n"), ran.err
    assert json.loads(taken[0])["id"] == "j-4"
    assert replicas.cluster.state.job_count == 4
    assert len(ran.err.splitlines()) == 2


def test_an_unknown_outcome_is_asked_for_again_under_the_same_key(live: Cli, replicas: Replicas) -> None:
    replica = replicas.servers["r1"].replica
    asked: list[str] = []
    propose = replica.propose

    async def first_answer_lost(command: object, *, timeout_s: float) -> object:
        asked.append(command.request_id)
        replica.fault = "unknown-after" if len(asked) == 1 else ""
        return await propose(command, timeout_s=timeout_s)

    replica.propose = first_answer_lost
    ran = live("discover", "10.0.0.1", "--detach")
    assert (ran.code, ran.out) == (0, "j-4\n")
    assert len(asked) == 2
    assert len(set(asked)) == 1
    assert replicas.cluster.state.job_count == 4


def test_replicas_that_a_server_named_are_tried_when_it_is_down(cli: Cli, replicas: Replicas) -> None:
    replicas.start("r1", "r2")
    cli.env["HAMGR_ADDR"] = replicas.servers["r1"].url
    assert cli("node", "ls").code == 0
    replicas.stop("r1")
    ran = cli("node", "ls", "--timeout", "5")
    assert ran.code == 0, ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_server_without_tls_is_never_learned_from_one_with_it() -> None:
    client = Client(servers=("https://a:1",), token="t", timeout_s=1.0)
    client.learn("https://a:1", {"x-hamgr-peers": "http://b:2,https://c:3"})
    assert client.candidates() == ["https://a:1", "https://c:3"]


def test_watching_a_job_rides_through_the_death_of_its_server(cli: Cli, replicas: Replicas) -> None:
    replicas.start("r1", "r2")
    cli.env["HAMGR_ADDR"] = replicas.servers["r1"].url
    with cli.start("discover", "w1.test") as process:
        assert process.stderr is not None
        assert "j-1" in process.stderr.readline()
        replicas.stop("r1")
        replicas.on_loop(rig.sight_in, replicas.cluster, "j-1", "w1")
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "succeeded  j-1 discover: 1 of 1" in out
    assert len([line for line in err.splitlines() if line.startswith("hamgr: ")]) <= 1


def test_a_stream_goes_on_at_another_replica_without_loss_or_repetition(replicas: Replicas) -> None:
    replicas.start("r1", "r2")
    urls = tuple(server.url for server in replicas.servers.values())
    replicas.on_loop(rig.discovered, replicas.cluster, "a", "b")
    client = Client(servers=urls, token=rig.TOKEN, timeout_s=10.0)
    events = follow(client, "/v1/events", {})
    found = [next(events).id for _ in range(3)]
    replicas.stop("r1")
    replicas.on_loop(rig.discovered, replicas.cluster, "c")
    expected = [f"{event.index}.{event.part}" for event in replicas.cluster.state.events]
    found += [next(events).id for _ in range(len(expected) - 3)]
    assert found == expected
    events.close()


def test_a_stream_whose_cursor_is_too_old_says_so(replicas: Replicas) -> None:
    replicas.start("r1")
    replicas.on_loop(rig.discovered, replicas.cluster, "a")
    state = replicas.cluster.state
    replicas.cluster.state = replace(state, events=state.events[-1:], event_base=state.index - 1)
    client = Client(servers=(replicas.servers["r1"].url,), token=rig.TOKEN, timeout_s=5.0)
    with pytest.raises(CliError) as refused:
        next(follow(client, "/v1/events", {"since": "1.0"}))
    assert refused.value.code is Exit.CONFLICT


def test_a_server_that_speaks_another_language_is_passed_over(live: Cli, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        caller, _ = listener.accept()
        with caller:
            caller.recv(65_536)
            caller.sendall(b"SSH-2.0-OpenSSH\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    live.env["HAMGR_ADDR"] = f"http://127.0.0.1:{listener.getsockname()[1]},{live.env['HAMGR_ADDR']}"
    assert live("node", "ls").code == 0
    thread.join(10)
    listener.close()
