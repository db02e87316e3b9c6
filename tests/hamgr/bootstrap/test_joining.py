"""`hamgrd join`: the token lets one machine in, however often it is killed on the way."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hamgr.bootstrap import calls, founding, joining
from hamgr.bootstrap import places as files
from hamgr.bootstrap.places import CannotBegin, Places
from hamgr.security.join_token import BadToken, Invitation, read
from tests.hamgr.bootstrap.conftest import Founded, address, answers, hamgrd, leads, wait_until
from tests.ports import free_ports

KILLED = 99


def join(places: Places, invitation: Invitation, name: str, ports: list[int] | None = None) -> joining.Plan:
    raft, api = ports or free_ports(2)
    return joining.join(places, invitation, name=name, raft=address(raft), api=f"https://{address(api)}")


def test_three_replicas_go_on_without_the_first_one(founded: Founded, tmp_path: Path) -> None:
    """The whole way, with real processes; the leader is killed at the end."""
    plans = []
    for name in ("r2", "r3"):
        one = Places(etc=tmp_path / name / "etc", data=tmp_path / name / "data", unit=None)
        plan = join(one, founded.invitation(), name)
        founded.run(one)
        assert joining.vote(one, plan, timeout_s=60, say=lambda _line: None) == "voter"
        plans.append(plan)
    assert sorted(founded.names()) == ["r1", "r2", "r3"]
    founded.call("PATCH", "/v1/globals", {"variables": {"before": 1}})
    assert founded.daemon is not None
    founded.daemon.kill()
    founded.daemon.wait()
    token = founded.said["token"]

    def ask() -> Any:
        for plan in plans:
            try:
                return calls._call(plan.api, "GET", "/v1/globals", None, calls._context(founded.ca), token)
            except calls.NoAnswer:
                continue
        return None

    assert wait_until("an answer", ask)["variables"]["before"] == 1
    founded.daemon = founded.run(founded.places)
    wait_until("r1", lambda: answers(founded.said["api"], founded.ca))


def led(founded: Founded) -> None:
    """Have r1 lead, which the other tests talk to."""

    def hand_over() -> bool:
        try:
            founded.call("POST", "/v1/replicas/r1:lead")
        except (calls.NoAnswer, CannotBegin):
            return False
        return leads(founded)

    wait_until("r1's lead", hand_over)


def test_a_second_machine_cannot_use_the_same_token(founded: Founded, tmp_path: Path) -> None:
    led(founded)
    invitation = founded.invitation()
    first = Places(etc=tmp_path / "1", data=tmp_path / "1d", unit=None)
    join(first, invitation, "a1")
    before = founded.names()
    second = Places(etc=tmp_path / "2", data=tmp_path / "2d", unit=None)
    with pytest.raises(CannotBegin, match=r"was used already: a1 has joined with it.*token create"):
        join(second, invitation, "a2")
    assert founded.names() == before
    assert not second.etc.exists()
    assert not second.data.exists()


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"joins_as": "node"}, "for a node"),
        ({"name": "other"}, "is for other, not for b1"),
        ({"ttl": 0.001}, r"expired \d+ s ago"),
    ],
)
def test_a_token_for_something_else_or_too_old_is_refused(
    founded: Founded, places: Places, made: dict[str, Any], says: str
) -> None:
    led(founded)
    before = founded.names()
    with pytest.raises(CannotBegin, match=says):
        join(places, founded.invitation(**made), "b1")
    assert founded.names() == before
    assert not places.config.exists()


def test_a_revoked_token_is_refused(founded: Founded, places: Places) -> None:
    led(founded)
    invitation = founded.invitation()
    founded.call("DELETE", f"/v1/tokens/{invitation.sha256[:12]}")
    with pytest.raises(CannotBegin, match="was revoked"):
        join(places, invitation, "b2")


def test_another_clusters_token_tells_that_cluster_nothing(
    founded: Founded, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who joins notices before it has said anything: only the open question is asked."""
    said = []
    monkeypatch.setattr(calls, "post_join", lambda *args: said.append(args))
    real = founded.invitation()
    foreign = Invitation(authority="0" * 64, joins_as="replica", urls=real.urls, secret=real.secret)
    with pytest.raises(CannotBegin, match="another cluster than the token's"):
        join(places, foreign, "b3")
    assert said == []
    assert not places.etc.exists()


@pytest.mark.parametrize("text", ["", "hello", "hamgrj1_x.y", "hamgrj1_" + "e30" + "." + "s" * 40])
def test_what_is_no_token_is_one_sentence(places: Places, text: str) -> None:
    with pytest.raises(BadToken):
        read(text)
    done = hamgrd("join", "-", "--config-dir", places.etc, "--data-dir", places.data, stdin=text + "\n")
    assert done.exit_code == 1
    assert "join token" in done.output
    assert not places.etc.exists()


def test_a_name_that_is_taken_does_not_cost_the_token(founded: Founded, places: Places) -> None:
    led(founded)
    invitation = founded.invitation()
    with pytest.raises(CannotBegin, match=r"r1 cannot join.*choose another name"):
        join(places, invitation, "r1")
    assert join(places, invitation, "b4").name == "b4"


def test_a_machine_that_has_a_replica_is_refused(founded: Founded) -> None:
    before = founded.places.config.read_bytes()
    with pytest.raises(CannotBegin, match="has a replica already"):
        join(founded.places, founded.invitation(), "b5")
    assert founded.places.config.read_bytes() == before


def test_wrong_tokens_are_answered_ever_more_rarely(founded: Founded, places: Places) -> None:
    led(founded)
    real = founded.invitation()
    guess = Invitation(authority=real.authority, joins_as="replica", urls=real.urls, secret="g" * 43)
    body = {
        "secret": guess.secret,
        "name": "b6",
        "replica": "4f0c5c3e-7d7b-4f0e-9d0e-0d8d9a3f1b02",
        "raft": "127.0.0.1:1",
        "api": "127.0.0.1:2",
        "request": joining.requests.ask(joining.requests.make_key(), "b6").decode(),
    }

    def refused() -> str:
        try:
            founded.call("POST", "/v1/join", body)
        except (calls.NoAnswer, CannotBegin) as error:
            return str(error)
        raise AssertionError("a guess was taken")

    told = [refused() for _ in range(40)]
    assert "none of this cluster's" in told[0]
    assert any("too many wrong join tokens" in line for line in told)


class Boundaries:
    """Counts the durable steps of a join, and kills the process after the one that is wanted."""

    def __init__(self, last: int) -> None:
        self.left = last

    def after(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **more: Any) -> Any:
            value = step(*args, **more)
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return value

        return counted


def killed_after(step: int, places: Places, invitation: Invitation, name: str, ports: list[int]) -> bool:
    """Join in a process that is killed after its `step`-th durable step; False when it had fewer."""
    child = os.fork()
    if child == 0:
        try:
            bounds = Boundaries(step)
            joining.write = founding.write = bounds.after(files.write)
            founding.rename = bounds.after(files.rename)
            founding.identity.create = bounds.after(founding.identity.create)
            calls.post_join = bounds.after(calls.post_join)
            join(places, invitation, name, ports)
            os._exit(0)
        finally:
            os._exit(KILLED)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


@pytest.mark.parametrize("step", [6, 40])
def test_another_token_finishes_what_one_that_expired_has_begun(
    founded: Founded, places: Places, step: int
) -> None:
    led(founded)
    ports = free_ports(2)
    name = f"x{step}"
    assert killed_after(step, places, founded.invitation(), name, ports) == (step < 40)
    identity = joining._plan_of(places)
    plan = join(places, founded.invitation(), name, ports)
    assert identity is not None
    assert (plan.name, plan.replica) == (name, identity.replica)
    assert founded.names().count(name) == 1


def test_a_join_that_is_killed_anywhere_is_finished_by_the_same_command(
    founded: Founded, tmp_path: Path
) -> None:
    led(founded)
    step = 0
    while True:
        step += 1
        places = Places(etc=tmp_path / f"e{step}", data=tmp_path / f"d{step}", unit=None)
        invitation, ports = founded.invitation(), free_ports(2)
        if not killed_after(step, places, invitation, f"k{step}", ports):
            break
        plan = join(places, invitation, f"k{step}", ports)
        assert (plan.name, places.config.exists(), places.draft.exists()) == (f"k{step}", True, False)
        assert hamgrd("check-config", places.config).exit_code == 0
        assert founded.names().count(f"k{step}") == 1
        founded.call("DELETE", f"/v1/replicas/k{step}")
    assert step > 10
