"""Apply recorded sequences of log entries and print what came out.

Run as `python -m tests.statemachine.replay FILE`.

FILE is msgpack: a list of sequences, each a snapshot and a list of entries. One line a sequence: the digest
of the final state, and the digest of all outcomes in order.
"""

import hashlib
import sys
from pathlib import Path

import msgpack

from statemachine.codec import decode_state, encode_outcome, state_digest
from statemachine.machine import apply_entry


def main() -> None:
    for snapshot, entries in msgpack.unpackb(Path(sys.argv[1]).read_bytes()):
        state = decode_state(snapshot)
        outcomes = hashlib.sha256()
        for entry in entries:
            state, outcome, _ = apply_entry(state, entry)
            outcomes.update(encode_outcome(outcome))
        print(state_digest(state), outcomes.hexdigest())


if __name__ == "__main__":
    main()
