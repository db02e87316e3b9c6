"""Plans that a second person approves: real replicas, their token file, and what the people type."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.exits import Exit
from tests.cluster.conftest import Fleet
from tests.cluster.steer import done, in_service, kill_leader, nothing_twice, succeeds

pytestmark = pytest.mark.timeout(300)
WORK = ["work.01.app.first 1", "work.02.app.second 1"]
SAYS_S_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with a token of their own, who may talk to any replica."""

    name: str
    environment: dict[str, str]

    def types(self, *words: str) -> tuple[int, str, str]:
        """Run a command of `hamgr`; return its exit status, its output and its errors."""
        ran = subprocess.run(
            [sys.executable, "-m", "cli.main", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SAYS_S_MAX,
            check=False,
        )
        return ran.returncode, ran.stdout, ran.stderr

    def succeeds(self, *words: str) -> str:
        status, out, errors = self.types(*words)
        assert status == 0, errors
        return out.strip()

    def fails(self, status: Exit, says: str, *words: str) -> None:
        found, _, errors = self.types(*words)
        assert (found, says in errors) == (status, True), errors


def person(fleet: Fleet, name: str, home: Path) -> Person:
    token = home / name
    token.write_text(fleet.cluster.tokens[name])
    token.chmod(0o600)
    urls = ",".join(fleet.cluster.layout.urls)
    return Person(
        name=name,
        environment={
            **os.environ,
            "HOME": str(home),
            "HAMGR_ADDR": urls,
            "HAMGR_TOKEN_FILE": str(token),
        },
    )


def test_only_a_second_person_approves_and_only_what_was_seen_is_begun(shared: Fleet, tmp_path: Path) -> None:
    ann, bob = (person(shared, name, tmp_path) for name in ("ann", "bob"))
    in_service(shared, "n1", "n2")
    asks = ("plan", "upgrade", "--bundle", shared.second, "--needs-approval", "-o", "name")
    plan = ann.succeeds(*asks, "n1")
    other = ann.succeeds(*asks, "n2")
    ann.fails(Exit.CONFLICT, "has to be approved by somebody else than ann", "apply", "--plan", plan)
    ann.fails(Exit.NOT_ALLOWED, "ann wrote plan", "plan", "approve", plan, "--yes")
    assert bob.succeeds("plan", "approve", plan[:12], "--yes") == f"plan {plan[:12]} is approved"
    ann.fails(Exit.CONFLICT, "has to be approved", "apply", "--plan", other)

    kill_leader(shared)  # what bob said is known to the next one
    job = ann.succeeds("apply", "--plan", plan, "--detach")
    succeeds(shared, job)
    found = json.loads(ann.succeeds("plan", "show", plan, "-o", "json"))
    assert (found["author"], found["approved_by"], found["used_by"]) == ("ann", "bob", job)
    assert shared.cluster.job(job)["actor"] == "ann"
    assert done(shared, job, "n1") == WORK

    # Nothing of it is bob's word any more once the node is another one than he saw.
    bob.succeeds("plan", "approve", other, "--yes")
    shared.cluster.ask("PATCH", "/v1/nodes/n2", {"variables": {"port": 81}}).ok()
    ann.fails(Exit.CONFLICT, "n2: another variables", "apply", "--plan", other)
    bob.fails(Exit.CONFLICT, "n2: another variables", "apply", "--plan", other)
    assert shared.lab.read("n2", "/etc/app.conf") == b"version=1.0 port=8080\n"
    assert shared.cluster.node("n2")["bundle"] == shared.first
    nothing_twice(shared)
