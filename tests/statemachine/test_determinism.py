"""Two replicas that apply the same entries agree to the byte, whatever the hash seed of their process."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import msgpack

from statemachine import codec
from statemachine.commands import Command, SubmitJob
from statemachine.machine import apply
from statemachine.manifest import Requirement
from statemachine.words import JobKind, NodeName, RequestId
from tests.statemachine.chaos import KINDS, Chaos, start
from tests.statemachine.fleet import AT, Fleet, component, manifest

ROOT = Path(__file__).parents[2]
SEQUENCES = 24
COMMANDS = 80


def _arbitrary(seed: int) -> tuple[bytes, list[bytes]]:
    """Return a snapshot and what chaos would send to it."""
    rng, state, sent = Random(seed), start(), list[Command]()
    for _ in range(COMMANDS):
        command = Chaos(rng, state, sent).command(rng.choice(KINDS))
        state, _ = apply(state, command)
        sent.append(command)
    entries = [codec.encode_command(command) for command in sent]
    return codec.encode_state(start()), [*entries, b"\xc1 not a command"]


def _many_reasons() -> tuple[bytes, list[bytes]]:
    """Return a request that many roles forbid at once: the order of the reasons must be agreed on too."""
    needy = {f"role-{number}": (Requirement(role="master"),) for number in range(8)}
    fleet = Fleet()
    fleet.bundle(1, manifest(component("app"), roles={"master": (), **needy}))
    fleet.in_service("m1", role="master")
    for role in needy:
        fleet.in_service(f"node-{role}", role=role)
    command = SubmitJob(
        request_id=RequestId("last"), at=AT, actor="ann", kind=JobKind.DECOMMISSION, nodes=(NodeName("m1"),)
    )
    return codec.encode_state(fleet.state), [codec.encode_command(command)]


def test_processes_with_different_hash_seeds_come_to_the_same_state(tmp_path: Path) -> None:
    first_seed = Random().randrange(2**32)
    print(f"seeds {first_seed} to {first_seed + SEQUENCES - 1}")
    log = tmp_path / "entries"
    arbitrary = [_arbitrary(first_seed + number) for number in range(SEQUENCES)]
    log.write_bytes(msgpack.packb([_many_reasons(), *arbitrary]))
    answers = [
        subprocess.run(
            [sys.executable, "-m", "tests.statemachine.replay", str(log)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout
        for seed in ("1", "4711")
    ]
    assert len(answers[0].splitlines()) == 1 + SEQUENCES
    assert answers[0] == answers[1]
