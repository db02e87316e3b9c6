"""What the doctor finds about the other replicas: addresses, clocks, versions."""

import email.utils
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from hamgr import config
from hamgr.bootstrap import founding
from hamgr.bootstrap.places import Places
from hamgr.config import Config
from hamgr.doctor import around
from hamgr.doctor.around import Other
from tests.ports import free_ports

OURS = version("hamgr")
HOUR_S = 3_600.0


class Neighbour(ThreadingHTTPServer):
    """A replica's API and its port for consensus in one, with the clock and version that a test wants."""

    daemon_threads = True
    ahead_s = 0.0
    status = 200
    says: dict[str, Any]

    @property
    def where(self) -> Other:
        address = f"127.0.0.1:{self.server_port}"
        return Other(name="r2", raft=address, api=f"http://{address}")


class _Answer(BaseHTTPRequestHandler):
    server: Neighbour

    def do_GET(self) -> None:
        body = json.dumps(self.server.says).encode()
        self.send_response_only(self.server.status)
        self.send_header("Date", email.utils.formatdate(time.time() + self.server.ahead_s, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine stands still for seconds: neither is that a wrong clock, nor a silent neighbour."""
    monkeypatch.setattr(around, "TIMEOUT_S", 30.0)
    monkeypatch.setattr(around, "CLOCK_WARN_S", 20.0)
    monkeypatch.setattr(around, "CLOCK_FAIL_S", 600.0)


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    with Neighbour(("127.0.0.1", 0), _Answer) as server:
        server.says = {"name": "r2", "version": OURS}
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    places = Places(etc=tmp_path / "etc", data=tmp_path / "data", unit=None)
    raft, api = free_ports(2)
    founding.found(places, name="r1", raft=f"127.0.0.1:{raft}", api=f"https://127.0.0.1:{api}")
    return config.load(places.config)


def found(settings: Config, *known: Other) -> list[tuple[str, str]]:
    return [(one.level, one.says) for one in around.findings(settings, known)]


def test_a_neighbour_whose_clock_and_version_fit_is_in_order(settings: Config, neighbour: Neighbour) -> None:
    ((level, says),) = found(settings, neighbour.where)
    assert (level, says.endswith("its clock and version fit")) == ("ok", True)


@pytest.mark.parametrize(
    ("ahead_s", "level"), [(300.0, "warn"), (-300.0, "warn"), (HOUR_S, "fail"), (-HOUR_S, "fail")]
)
def test_a_clock_that_differs_is_told_with_its_sign(
    settings: Config, neighbour: Neighbour, ahead_s: float, level: str
) -> None:
    neighbour.ahead_s = ahead_s
    ((told, says),) = found(settings, neighbour.where)
    assert (told, says.startswith(f"its clock is {'+' if ahead_s > 0 else '-'}")) == (level, True)


def test_another_version_does_not_hide_a_wrong_clock(settings: Config, neighbour: Neighbour) -> None:
    neighbour.says["version"], neighbour.ahead_s = "9.9.9", HOUR_S
    versions, clock = found(settings, neighbour.where)
    assert versions == ("warn", f"it runs hamgr 9.9.9, and this one {OURS}")
    assert (clock[0], clock[1].startswith("its clock is +")) == ("fail", True)


def test_a_neighbour_with_this_replicas_address_is_told_and_not_asked(settings: Config) -> None:
    twin = Other(name="r2", raft=settings.raft, api="http://127.0.0.1:9")
    assert found(settings, twin) == [("fail", f"it has this replica's address {settings.raft}")]


def test_a_neighbour_that_is_not_reached_or_refuses_is_told_and_the_next_is_looked_at(
    settings: Config, neighbour: Neighbour
) -> None:
    neighbour.status, neighbour.says = 401, {"detail": "nobody knows this token"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = f"127.0.0.1:{listener.getsockname()[1]}"
    away = Other(name="r3", raft=closed, api=f"http://{closed}")
    first, second = found(settings, away, neighbour.where)
    assert (first[0], f"{closed} is not reached" in first[1]) == ("fail", True)
    assert second == ("fail", f"{neighbour.where.api} gives no answer: 401: nobody knows this token")
