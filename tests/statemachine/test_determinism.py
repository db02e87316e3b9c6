"""Two replicas that apply the same entries agree to the byte, whatever the hash seed of their process."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import msgpack

from statemachine import codec
from statemachine.commands import Command
from statemachine.machine import apply
from tests.statemachine.chaos import KINDS, Chaos, start

ROOT = Path(__file__).parents[2]
SEQUENCES = 24
COMMANDS = 80


def _sequence(seed: int) -> list[bytes]:
    rng, state, sent = Random(seed), start(), list[Command]()
    for _ in range(COMMANDS):
        command = Chaos(rng, state, sent).command(rng.choice(KINDS))
        state, _ = apply(state, command)
        sent.append(command)
    return [codec.encode_command(command) for command in sent] + [b"\xc1 not a command"]


def test_processes_with_different_hash_seeds_come_to_the_same_state(tmp_path: Path) -> None:
    first_seed = Random().randrange(2**32)
    print(f"seeds {first_seed} to {first_seed + SEQUENCES - 1}")
    log = tmp_path / "entries"
    log.write_bytes(msgpack.packb([_sequence(first_seed + number) for number in range(SEQUENCES)]))
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
    assert len(answers[0].splitlines()) == SEQUENCES
    assert answers[0] == answers[1]
