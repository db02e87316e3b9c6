"""`python -m tests.bench` lists the benches, with a name it runs that one, with `all` every one."""

import sys
from collections.abc import Callable, Sequence

from tests.bench import (
    apply,
    consensus,
    failover,
    fan_out,
    five_steps,
    frames,
    idle,
    journal,
    presence,
    restart,
    rolling_upgrade,
    vip,
    wire,
)

BENCHES: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "five_steps": (five_steps.main, "a job of five steps on 50 OpenSSH nodes: hamgr, Ansible and the floor"),
    "fan_out": (
        fan_out.main,
        "one command on 20, 100 and 300 OpenSSH nodes, beside three peers",
    ),
    "apply": (apply.main, "what a command costs a replica with 10,000 nodes"),
    "consensus": (consensus.main, "writes and linearizable reads through HTTP, beside etcd"),
    "failover": (failover.main, "from SIGKILL of the leader to the next acknowledged write, beside etcd"),
    "frames": (frames.main, "what an answer over HTTP costs below any handler"),
    "idle": (idle.main, "what a replica that has nothing to do takes of processor and memory, beside etcd"),
    "journal": (journal.main, "a sync of the journal, and how long a compaction holds everything up"),
    "presence": (presence.main, "how soon a dead node of 300 is known, and what watching them costs"),
    "restart": (restart.main, "how long a replica with 100,000 commands and 10,000 nodes takes to come back"),
    "rolling_upgrade": (rolling_upgrade.main, "1,000 practice nodes in waves of 100, and the API meanwhile"),
    "vip": (vip.main, "for how long nobody answers at the virtual address, beside keepalived"),
    "wire": (wire.main, "round trips and bytes through the links of replicas, beside plain TCP"),
}


def main(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print("usage: python -m tests.bench all | NAME [OPTIONS]  (NAME --help shows them)\n")
        for name, (_, title) in BENCHES.items():
            print(f"  {name:17}{title}")
        return 0
    if words[0] == "all":
        return max(run(words[1:]) for run, _ in BENCHES.values())
    if words[0] not in BENCHES:
        print(f"there is no bench {words[0]!r}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    return BENCHES[words[0]][0](words[1:])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
