"""Whatever is sent, the answer is no 5xx, and what is refused changes nothing."""

import asyncio
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from hamgr.api.parse import (
    CancelBody,
    GlobalsPatch,
    JobBody,
    MaintenanceBody,
    NodeBody,
    NodePatch,
    RetryBody,
)
from statemachine import codec
from tests.hamgr.api import rig

MODELS = {
    ("POST", "/v1/nodes"): NodeBody,
    ("PATCH", "/v1/nodes/w1"): NodePatch,
    ("PUT", "/v1/nodes/w1/maintenance"): MaintenanceBody,
    ("PATCH", "/v1/globals"): GlobalsPatch,
    ("POST", "/v1/jobs"): JobBody,
    ("POST", "/v1/jobs/j-1:cancel"): CancelBody,
    ("POST", "/v1/jobs/j-1:retry"): RetryBody,
}
WORDS = st.sampled_from(
    ["w1", "w2", "web", "*", "commission", "discover", "verify", "10.0.0.0/30", "", "a\x00"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
VALUES = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(WORDS, v, max_size=3), max_leaves=8
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, str]:
    (method, path), model = draw(st.sampled_from(sorted(MODELS.items(), key=lambda item: item[0])))
    known = st.dictionaries(st.sampled_from(sorted(model.model_fields)), VALUES, max_size=6)
    body = draw(known | VALUES)
    text = json.dumps(body)
    cut = draw(st.none() | st.integers(0, len(text)))
    return method, path, text if cut is None else text[:cut]


@pytest.mark.timeout(400)  # a busy machine takes long for some four hundred requests
@given(sent=st.lists(requests(), min_size=20, max_size=40))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_body_makes_a_server_error(sent: list[tuple[str, str, str]]) -> None:
    asyncio.run(_send(sent))


async def _send(sent: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        cluster = rig.Cluster()
        async with rig.serving(Path(directory), cluster) as server:
            rig.discovered(cluster, "w1", "w2")
            for method, path, text in sent:
                before = cluster.state
                headers = {"Content-Type": "application/json"}
                status, told, _ = await server.call(method, path, data=text, headers=headers)
                assert status < 500, (method, path, text, told)
                if status >= 400:
                    assert told["code"]
                    assert (cluster.state.nodes, cluster.state.jobs) == (before.nodes, before.jobs)
                assert codec.decode_state(codec.encode_state(cluster.state)) == cluster.state


@pytest.mark.parametrize(
    "path", ["/v1/nodes/%00", "/v1/nodes/%ff", "/v1/jobs/%0a", "/v1/nodes/a%2fb", "/%2e%2e/x", "//"]
)
async def test_odd_paths_are_answered_with_problems(server: rig.Server, path: str) -> None:
    async with server.session.get(URL(server.url + path, encoded=True)) as answer:
        assert 400 <= answer.status < 500
        assert "code" in await answer.json()
