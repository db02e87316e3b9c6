"""Who calls: every token has an owner, whose name goes into what they do."""

import pytest

from tests.hamgr.api import rig
from tests.hamgr.api.rig import Server


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_the_owner_of_a_token_is_the_actor_of_what_is_done_with_it(bundled: Server) -> None:
    for name, token in rig.TOKENS.items():
        body = {"name": f"of-{name}", "address": "10.0.0.1"}
        status, _, _ = await bundled.call("POST", "/v1/nodes", body, headers=bearer(token))
        assert status == 201
        assert bundled.state.nodes[f"of-{name}"].history[0].actor == name


@pytest.mark.parametrize("header", ["Bearer " + "x" * 40, "Bearer", "Basic " + rig.TOKEN, "", "operator"])
async def test_what_is_nobodys_token_is_refused(bundled: Server, header: str) -> None:
    status, problem, answer = await bundled.call("GET", "/v1/nodes", headers={"Authorization": header})
    assert (status, problem["code"]) == (401, "unauthorized")
    assert "WWW-Authenticate" in answer


async def test_a_name_is_no_token(bundled: Server) -> None:
    status, _, _ = await bundled.call("GET", "/v1/nodes", headers=bearer("bob"))
    assert status == 401
