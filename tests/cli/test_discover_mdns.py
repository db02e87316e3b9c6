"""hamgr discover mdns: who announces SSH is probed, and silence is an error with a way out."""

import pytest

from hamgr.discovery import mdns
from hamgr.discovery.mdns import Neighbour


def hear(monkeypatch: pytest.MonkeyPatch, *found: Neighbour) -> None:
    async def browse(seconds: float) -> list[Neighbour]:
        return list(found)

    monkeypatch.setattr(mdns, "browse", browse)


def test_who_announces_itself_would_be_probed_at_its_port(live, monkeypatch):
    web, db = (
        Neighbour(name="web", address="10.0.0.7", port=2222),
        Neighbour(name="db", address="2001:db8::7", port=22),
    )
    hear(monkeypatch, web, db)
    done = live("discover", "mdns", "--seconds", "1", "--dry-run")
    assert done.code == 0
    assert "10.0.0.7:2222" in done.out
    assert "2001:db8::7" in done.out


def test_when_nobody_announces_itself_the_way_out_is_a_range(live, monkeypatch):
    hear(monkeypatch)
    done = live("discover", "mdns", "--seconds", "1")
    assert done.code == 1
    assert "nobody announces SSH on the networks of replica" in done.err
    assert "hamgr discover cidr" in done.err
