"""What Prometheus gets: every metric that the documentation names, and no other."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from hamgr.logs.figures import LogFigures
from hamgr.raft.figures import (
    Distribution,
    Histogram,
    PeerFigures,
    Queues,
    SnapshotFigures,
    Stalls,
)
from tests.hamgr.api.rig import Cluster, Server, serving

TOP = Path(__file__).parents[3]
METRICS_DOC = TOP / "docs/metrics.md"
OPERATING_DOC = TOP / "docs/operating.md"
RULES = TOP / "deploy/prometheus/hamgr.rules.yml"
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    fencing = SimpleNamespace(failure="no route", passed_at=85.0)
    async with serving(tmp_path, Cluster(), fencing=fencing) as server:
        yield server


def everything() -> dict[str, Any]:
    """Return figures in which nothing is unknown, and no two numbers are alike."""
    sync = Histogram()
    for seconds in (0.0004, 0.0004, 0.03, 9.0):
        sync.observe(seconds)
    return {
        "voters": ("r1", "r2", "r3"),
        "learners": ("r4",),
        "first_index": 11,
        "last_index": 15,
        "commit_index": 14,
        "applied_index": 13,
        "elections": 21,
        "pre_votes": 22,
        "leader_changes": 23,
        "sync": sync.copy(),
        "journal_bytes": 31,
        "snapshot": SnapshotFigures(
            last_index=12, bytes=32, seconds=0.33, sent=34, received=35, refused=36, receiving=True
        ),
        "peers": {
            "r2": PeerFigures(connected=True, round_trip_s=0.002, lag_entries=41, queued_bytes=42),
            "r3": PeerFigures(connected=False),
        },
        "queues": Queues(proposals=51, reads=52, inbox=53),
        "stalls": Stalls(count=61, longest_s=0.62),
        "api_stalls": Stalls(count=63, longest_s=0.64),
        "refused": {"foreign": 71, "oversized": 72},
        "divergences": 81,
        "certificate_expires_at": 1_800_000_000.0,
    }


async def scrape(server: Server) -> dict[str, Metric]:
    """Return what a scrape finds, by the metrics' names as an expression would use them."""
    status, body, headers = await server.call("GET", "/metrics")
    assert status == 200, body
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(body.decode()))
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in families}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Return type and labels of each metric in the documentation's table."""
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \|([^|]*)\|", METRICS_DOC.read_text(), re.MULTILINE)
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


async def test_every_metric_is_in_the_documentation_with_its_type_and_labels(server: Server) -> None:
    server.replica.more = everything()
    found = await scrape(server)
    told = {
        name: (family.type, frozenset(label for sample in family.samples for label in sample.labels))
        for name, family in found.items()
    }
    assert told == documented()


async def test_every_metric_explains_itself_in_a_sentence(server: Server) -> None:
    server.replica.more = everything()
    for name, family in (await scrape(server)).items():
        assert family.documentation.endswith("."), name
        assert len(family.documentation.split()) >= 4 or name == "hamgr_raft_term", name


async def test_each_figure_arrives_under_its_own_name(server: Server) -> None:
    server.replica.more = everything()
    server.replica.staleness_s = 0.75
    server.logs.figures = LogFigures(stored_bytes=91, owed_attempts=92, damaged=93, failing=True)
    found = {name: values(family) for name, family in (await scrape(server)).items()}
    single = {
        "term": 1,
        "has_leader": 1,
        "is_leader": 1,
        "first_index": 11,
        "last_index": 15,
        "commit_index": 14,
        "applied_index": 13,
        "staleness_seconds": 0.75,
        "elections_total": 21,
        "pre_votes_total": 22,
        "leader_changes_total": 23,
        "journal_bytes": 31,
        "snapshot_last_index": 12,
        "snapshot_bytes": 32,
        "snapshot_duration_seconds": 0.33,
        "snapshots_sent_total": 34,
        "snapshots_received_total": 35,
        "snapshots_refused_total": 36,
        "snapshot_receiving": 1,
        "divergences_total": 81,
        "diverged": 0,
        "renounced": 0,
        "warning": 0,
    }
    fencing = {"armed": 0, "failed": 1, "passed_timestamp_seconds": 85}
    assert {name: found[f"hamgr_fencing_{name}"] for name in fencing} == {
        name: {(): value} for name, value in fencing.items()
    }
    assert {name: found[f"hamgr_raft_{name}"] for name in single} == {
        name: {(): value} for name, value in single.items()
    }
    assert found["hamgr_raft_members"] == {("voter",): 3, ("learner",): 1}
    assert found["hamgr_raft_queue_length"] == {("proposals",): 51, ("reads",): 52, ("inbox",): 53}
    assert found["hamgr_raft_refused_total"] == {("foreign",): 71, ("oversized",): 72}
    assert found["hamgr_raft_peer_connected"] == {("r2",): 1, ("r3",): 0}
    assert found["hamgr_raft_peer_round_trip_seconds"] == {("r2",): 0.002}
    assert found["hamgr_raft_peer_lag_entries"] == {("r2",): 41}
    assert found["hamgr_raft_peer_queued_bytes"] == {("r2",): 42, ("r3",): 0}
    assert found["hamgr_loop_stalls_total"] == {("raft",): 61, ("api",): 63}
    assert found["hamgr_loop_stall_longest_seconds"] == {("raft",): 0.62, ("api",): 0.64}
    logs = {"stored_bytes": 91, "owed": 92, "damaged_total": 93, "failing": 1}
    assert {name: found[f"hamgr_job_logs_{name}"] for name in logs} == {
        name: {(): value} for name, value in logs.items()
    }
    assert found["hamgr_certificate_expires_timestamp_seconds"] == {(): 1.8e9}
    assert found["hamgr_build_info"] == {("r1", "0.0.test"): 1}


@pytest.mark.parametrize("name", ["diverged", "renounced", "warning"])
async def test_what_needs_a_person_is_one(server: Server, name: str) -> None:
    server.replica.more = {name: "look at the disk" if name == "warning" else True}
    found = {key: values(family) for key, family in (await scrape(server)).items()}
    assert [found[f"hamgr_raft_{key}"][()] for key in ("diverged", "renounced", "warning")] == [
        float(key == name) for key in ("diverged", "renounced", "warning")
    ]


async def test_the_histogram_cumulates_and_ends_with_all_observations(server: Server) -> None:
    server.replica.more = everything()
    samples = (await scrape(server))["hamgr_raft_sync_seconds"].samples
    buckets = {
        float(sample.labels["le"]): sample.value for sample in samples if sample.name.endswith("bucket")
    }
    assert buckets[0.00025] == 0
    assert buckets[0.0005] == buckets[0.025] == 2
    assert buckets[0.05] == buckets[2.5] == 3
    assert buckets[float("inf")] == 4
    rest = {sample.name: sample.value for sample in samples if not sample.labels}
    assert rest["hamgr_raft_sync_seconds_count"] == 4
    assert rest["hamgr_raft_sync_seconds_sum"] == pytest.approx(9.0308)
    assert list(buckets) == sorted(buckets)
    assert len(buckets) == len(Distribution().counts)


async def test_what_nobody_measured_is_left_out(server: Server) -> None:
    server.replica.staleness_s = None
    found = await scrape(server)
    unknown = {"commit_index", "applied_index", "staleness_seconds", "snapshot_duration_seconds"}
    assert not {f"hamgr_raft_{name}" for name in unknown} & set(found)
    assert "hamgr_certificate_expires_timestamp_seconds" not in found
    assert "hamgr_raft_peer_lag_entries" not in found
    assert values(found["hamgr_loop_stalls_total"]) == {("raft",): 0}
    assert values(found["hamgr_raft_elections_total"]) == {(): 0}


async def test_a_name_with_odd_characters_does_not_break_the_format(server: Server) -> None:
    odd = 'r"2\\n\n{}'
    server.replica.more = {"peers": {odd: PeerFigures(connected=True)}}
    found = await scrape(server)
    assert values(found["hamgr_raft_peer_connected"]) == {(odd,): 1}


async def test_figures_are_of_the_moment_of_the_scrape(server: Server) -> None:
    assert values((await scrape(server))["hamgr_raft_is_leader"]) == {(): 1}
    server.replica.cluster.leader = "r2"
    found = await scrape(server)
    assert (values(found["hamgr_raft_is_leader"]), values(found["hamgr_raft_has_leader"])) == (
        {(): 0},
        {(): 1},
    )
    server.replica.cluster.leader = ""
    assert values((await scrape(server))["hamgr_raft_has_leader"]) == {(): 0}


async def test_metrics_want_the_token_and_tell_nothing_without_it(server: Server) -> None:
    status, body, headers = await server.call("GET", "/metrics", headers={"Authorization": ""})
    assert (status, body["code"]) == (401, "unauthorized")
    assert "hamgr_raft" not in str(body)
    assert "X-Hamgr-Peers" not in headers


async def test_a_parameter_that_metrics_do_not_know_is_refused(server: Server) -> None:
    status, problem, _ = await server.call("GET", "/metrics?name=x")
    assert (status, problem["code"]) == (400, "bad-query")


async def test_the_librarys_global_registry_stays_out_of_it(server: Server) -> None:
    theirs = {family.name for family in REGISTRY.collect()}
    assert not {name for name in await scrape(server) if name.startswith("hamgr")} & theirs
    assert not any(name.startswith("python") for name in await scrape(server))


# The alerts.


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_alerts_ask_only_for_metrics_that_exist() -> None:
    known = {"up"}
    for name, (kind, _labels) in documented().items():
        known |= {name + suffix for suffix in SUFFIXES["histogram"]} if kind == "histogram" else {name}
    for rule in alerts():
        asked = set(re.findall(r"\b(?:hamgr|process)_\w+|\bup\b", rule["expr"]))
        assert asked, rule["alert"]
        assert asked <= known, rule["alert"]


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "runbook"}, rule["alert"]
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (TOP / page).read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


def test_the_runbook_has_a_part_for_each_alert_and_no_other() -> None:
    text = OPERATING_DOC.read_text()
    part = text[text.index("## When an alert fires") :].split("\n## ")[0]
    assert sorted(re.findall(r"`(Hamgr\w+)`", part)) == sorted({rule["alert"] for rule in alerts()})
