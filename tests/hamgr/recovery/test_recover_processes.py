"""A majority of real replicas is killed for good; a survivor begins again with what everybody was told."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hamgr import config
from hamgr.bootstrap import calls, joining
from hamgr.bootstrap.places import CannotBegin, Places
from tests.hamgr.bootstrap.conftest import Founded, wait_until
from tests.hamgr.recovery.conftest import TOKEN, Machine, hamgrd, make_machines
from tests.ports import LOOPBACK, free_ports

pytestmark = pytest.mark.timeout(300)
WRITES = 5


@dataclass
class Cluster:
    """Real replicas on machines of one cluster."""

    machines: list[Machine]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *names: str) -> None:
        for name in names:
            one = self.machine(name)
            with (one.config.parent / "log").open("ab") as log:
                command = [sys.executable, "-m", "hamgr.commands", "run", "--config", str(one.config)]
                self.running[name] = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    def kill(self, *names: str) -> None:
        for name in names:
            process = self.running.pop(name)
            process.kill()
            process.wait()

    def machine(self, name: str) -> Machine:
        return self.machines[int(name[1:]) - 1]

    def log(self, name: str) -> str:
        return (self.machine(name).config.parent / "log").read_text()

    def call(self, name: str, method: str, path: str, body: Any = None) -> Any:
        one = self.machine(name)
        context = calls._context((one.config.parent / "ca.crt").read_text())
        return calls._call(one.api, method, path, body, context, TOKEN)

    def leader(self) -> str:
        for name in self.running:
            try:
                if self.call(name, "GET", "/v1/replica")["leads"]:
                    return name
            except calls.NoAnswer:
                continue
        return ""

    def write(self, variable: str) -> None:
        """Have it acknowledged, by whoever leads."""

        def written() -> bool:
            try:
                self.call(self.leader() or "r1", "PATCH", "/v1/globals", {"variables": {variable: 1}})
            except (calls.NoAnswer, CannotBegin):
                return False
            return True

        wait_until(f"the acknowledgement of {variable}", written)

    def globals(self, name: str, query: str = "") -> dict[str, int]:
        """Return what a replica answers, as soon as it does: it may have been started a moment ago."""

        def read() -> list[dict[str, int]]:
            try:
                return [self.call(name, "GET", f"/v1/globals{query}")["variables"]]
            except (calls.NoAnswer, CannotBegin):
                return []

        return dict(wait_until(f"the variables of {name}", read)[0])


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Any]:
    made: list[Cluster] = []

    def make(count: int) -> Cluster:
        cluster = Cluster(make_machines(tmp_path, count))
        made.append(cluster)
        cluster.start(*(f"r{n + 1}" for n in range(count)))
        wait_until("a leader", cluster.leader)
        return cluster

    yield make
    for cluster in made:
        cluster.kill(*cluster.running)


def recovered(cluster: Cluster, name: str, *reports: Path) -> None:
    words = [word for report in reports for word in ("--with", report)]
    here = ["recover", "--config", cluster.machine(name).config, *words]
    told = hamgrd(*here, "-o", "json")
    assert told.exit_code == 0, told.output
    done = hamgrd(*here, "--confirm", json.loads(told.stdout)["confirm"])
    assert done.exit_code == 0, done.output


def test_after_two_of_three_are_lost_the_third_goes_on_alone_and_a_new_one_joins(
    clusters: Any, tmp_path: Path
) -> None:
    cluster: Cluster = clusters(3)
    for number in range(WRITES):
        cluster.write(f"w{number}")
    expected = {f"w{number}": 1 for number in range(WRITES)}
    wait_until("all of it on r3", lambda: cluster.globals("r3") == expected)
    cluster.kill("r1", "r2", "r3")

    recovered(cluster, "r3")
    cluster.start("r3")
    wait_until("the leader of one", cluster.leader)
    assert cluster.globals("r3") == expected
    cluster.write("after")

    cluster.start("r1")  # it knows nothing of it, and comes back
    address = cluster.machine("r3").raft
    wait_until("r1's complaint", lambda: f"no link to r3 at {address}" in cluster.log("r1"))
    assert [item["name"] for item in cluster.call("r3", "GET", "/v1/replicas")["items"]] == ["r3"]
    assert "after" not in cluster.globals("r1", "?consistency=stale")
    cluster.kill("r1")

    places = Places(etc=tmp_path / "n" / "etc", data=tmp_path / "n" / "data", unit=None)
    one = cluster.machine("r3")
    said = {"api": one.api, "token": TOKEN, "ca": str(one.config.parent / "ca.crt")}
    founded = Founded(places, said)
    raft, api = free_ports(2)
    plan = joining.join(
        places, founded.invitation(), name="r4", raft=f"{LOOPBACK}:{raft}", api=f"https://{LOOPBACK}:{api}"
    )
    founded.run(places)
    try:
        assert joining.vote(places, plan, timeout_s=90, say=lambda _line: None) == "voter"
        assert config.load(places.config).peers.keys() == {"r3"}
        cluster.write("together")
    finally:
        for process in founded.others:
            process.kill()
            process.wait()


def test_after_three_of_five_are_lost_the_more_complete_log_is_used(clusters: Any) -> None:
    cluster: Cluster = clusters(5)
    cluster.write("first")
    wait_until("it on r4", lambda: cluster.globals("r4").get("first"))
    cluster.kill("r4")
    for number in range(WRITES):
        cluster.write(f"w{number}")
    wait_until("all on r5", lambda: len(cluster.globals("r5")) == WRITES + 1)
    cluster.kill("r1", "r2", "r3")
    cluster.running["r5"].terminate()
    cluster.running.pop("r5").wait()
    short, long = cluster.machine("r4").report(), cluster.machine("r5").report()
    before = cluster.machine("r4").files()
    refused = hamgrd("recover", "--config", cluster.machine("r4").config, "--with", long)
    assert refused.exit_code == 1
    assert "the log of r5 is to be used" in refused.output
    assert cluster.machine("r4").files() == before
    recovered(cluster, "r5", short)
    cluster.start("r5")
    wait_until("the leader of one", cluster.leader)
    assert len(cluster.globals("r5")) == WRITES + 1
    cluster.write("after")


def test_while_a_majority_is_alive_it_is_refused_with_proof_and_nothing_happens(clusters: Any) -> None:
    cluster: Cluster = clusters(3)
    cluster.write("first")
    victim = next(name for name in cluster.running if name != cluster.leader())
    cluster.kill(victim)
    before = cluster.machine(victim).files()

    def refused() -> str:
        done = hamgrd("recover", "--config", cluster.machine(victim).config)
        assert done.exit_code == 1
        assert "a majority is left: " in done.output  # also when only one answered in time
        assert cluster.machine(victim).files() == before
        return done.output if "r1 and r2 and r3, 3 of 3 voters" in done.output else ""

    told = wait_until("the answers of both", refused)
    for name in cluster.running:
        assert f"{name} answered at {cluster.machine(name).raft} with its certificate" in told
    cluster.write("second")
