"""Three replicas in one process, with a virtual clock, a network of lists, and disks that forget.

The cores are real, library included; what happens depends on the seed alone.

1. Whatever a replica has applied is acknowledged: it stands in `history` for ever, at its index.
2. An acknowledgement or a vote that leaves a replica is compared with what its disk holds at that moment.
"""

import copy
import random
from collections import defaultdict, deque

from pysyncobj import syncobj
from pysyncobj.node import TCPNode
from pysyncobj.transport import Transport

from hamgr.raft.old_core import Core
from hamgr.raft.settings import StockSettings
from hamgr.raft.store.folder import Folder, encode_snapshot
from hamgr.raft.store.recovery import recover
from statemachine import codec, machine
from statemachine.model import State
from tests.hamgr.raft import kit
from tests.hamgr.raft.bad_disk import LossyStorage, PowerCut

HEARTBEAT_S, ELECTION_S_MIN, ELECTION_S_MAX = 0.05, 0.2, 0.4
COMPACT_AFTER = 12


class Wire(Transport):
    """One replica's end of the network."""

    def __init__(self, rack, replica, others):
        super().__init__(None, None, None)
        self._rack, self._replica = rack, replica
        self.nodes = {node.address: node for node in others}

    def send(self, node, message):
        if self._rack.watching:
            self._replica.check_promise(message)
        return self._rack.carry(self._replica.address, node.address, message)

    def destroy(self):
        pass


class Replica:
    """A folder on a lossy disk and, while it runs, a core."""

    def __init__(self, rack, settings, attic):
        self.rack, self.settings, self.address = rack, settings, settings.address
        self.storage = LossyStorage(attic, rack.random)
        self.core = None

    def start(self):
        self.state, self.staged, self.since_snapshot = State(), None, 0
        self.folder = Folder(self.settings.data_dir, self.storage)
        try:
            journal = self.folder.settle()
            self.core = Core(
                self.settings,
                folder=self.folder,
                journal=journal,
                obey=self._obey,
                restore=self._restore,
                make_transport=self._make_wire,
            )
        except BaseException:
            self.folder.close()
            raise
        self.core._poller = self

    def _make_wire(self, _core, _own, others):
        self.wire = Wire(self.rack, self, others)
        return self.wire

    def stop(self):
        if self.core is not None:
            self.core.close()
            self.folder.close()
            self.core = None

    def _obey(self, entry):
        self.state, _outcome, bug = machine.apply_entry(self.state, entry)
        assert bug is None
        self.since_snapshot += 1
        self.rack.applied(self, entry)

    def _restore(self, state):
        self.staged = None
        self.state = state

    def compact(self):
        """Begin a snapshot, or put the one that is ready in force."""
        if self.staged is not None:
            (path, snapshot), self.staged = self.staged, None
            self.folder.put_in_force(path)
            self.core.snapshot_taken(snapshot)
        elif self.since_snapshot >= COMPACT_AFTER and (
            snapshot := self.core.snapshot(self.state, self.core.raftLastApplied)
        ):
            self.since_snapshot = 0
            self.staged = self.folder.stage(encode_snapshot(snapshot), "new"), snapshot

    def check_promise(self, message):
        """Fail if `message` says what the disk does not know."""
        path = self.folder.journal_path
        match message["type"]:
            case "next_node_idx" if message["success"]:
                entries = recover(path, self.storage.synced_bytes(path)).entries
                assert entries[-1][1] >= message["next_node_idx"] - 1, f"{message} before its sync"
            case "request_vote" | "response_vote":
                barrier = recover(path, self.storage.synced_bytes(path)).barrier
                assert barrier.term >= message["term"], f"{message} before its sync"
                assert barrier.vote is not None or barrier.term > message["term"]

    # The core's poller.

    def subscribe(self, *_arguments):
        pass

    def unsubscribe(self, *_arguments):
        pass

    def poll(self, _wait_s):
        for sender, message in self.rack.delivered_to(self.address):
            self.wire._onMessageReceived(self.wire.nodes[sender], message)


class Rack:
    """Three of them; `with` it, the library's clock is the rack's."""

    def __init__(self, folder, seed, monkeypatch, *, watching=True):
        self.random = random.Random(seed)
        self.watching = watching
        self.history = {}
        self.now = 1_000.0
        self.proposed = 0
        self._links = defaultdict(deque)
        monkeypatch.setattr(syncobj, "monotonicTime", lambda: self.now)
        monkeypatch.setattr(syncobj.random, "random", self.random.random)
        addresses = [f"127.0.0.1:{port}" for port in (1, 2, 3)]
        self.replicas = [
            Replica(
                self,
                StockSettings(
                    name=address,
                    address=address,
                    peers={peer: (peer, "") for peer in addresses if peer != address},
                    password=kit.PASSWORD,
                    data_dir=folder / address,
                    heartbeat_s=HEARTBEAT_S,
                    election_s_min=ELECTION_S_MIN,
                    election_s_max=ELECTION_S_MAX,
                    quorum_lost_s=ELECTION_S_MAX,
                ),
                folder / f"attic-{address}",
            )
            for address in addresses
        ]

    def applied(self, replica, entry):
        index = replica.state.index
        assert self.history.setdefault(index, entry) == entry, f"two entries at {index}"

    def carry(self, sender, receiver, message):
        self._links[sender, receiver].append(copy.deepcopy(message))
        return True

    def delivered_to(self, address):
        for replica in self.replicas:
            link = self._links[replica.address, address]
            for _ in range(self.random.randint(0, len(link))):
                if link:
                    yield replica.address, link.popleft()

    def running(self):
        return [replica for replica in self.replicas if replica.core is not None]

    def start(self, replica):
        """Start a replica and connect it; it may lose power while it starts."""
        try:
            replica.start()
        except PowerCut:
            replica.storage.lose_power(replica.settings.data_dir)
            return
        for other in self.running():
            if other is not replica:
                self._links[replica.address, other.address].clear()
                self._links[other.address, replica.address].clear()
                other.wire._onNodeConnected(TCPNode(replica.address))
                replica.wire._onNodeConnected(TCPNode(other.address))

    def end(self, replica, *, power_too):
        """Kill a replica, with its computer or without."""
        replica.stop()
        for other in self.running():
            other.wire._onNodeDisconnected(TCPNode(replica.address))
        if power_too:
            replica.storage.lose_power(replica.settings.data_dir)

    def step(self, *, calm=False):
        """Let one replica do one tick; it may lose power in the middle of it."""
        self.now += self.random.uniform(0.001, 0.01)
        replica = self.random.choice(self.running())
        try:
            if not calm and self.random.random() < 0.3:
                self._propose(replica)
            replica.core.tick(self.random.choice((0.0, HEARTBEAT_S)))
            if self.random.random() < 0.3:
                replica.compact()
        except PowerCut:
            self.end(replica, power_too=True)

    def _propose(self, replica):
        self.proposed += 1
        command = kit.add_node(f"n{self.proposed}")
        replica.core.submit(codec.encode_command(command), lambda _result, _reason: None)

    def misfortune(self):
        """Kill or cut off some or all, and start everybody again."""
        victims = self.random.choice((self.replicas, self.replicas, [self.random.choice(self.replicas)]))
        power_too = self.random.random() < 0.7
        for replica in victims:
            self.end(replica, power_too=power_too)
        self.start_all()

    def start_all(self, *, misfortune=True):
        for replica in self.replicas:
            while replica.core is None:
                if misfortune and self.random.random() < 0.2:
                    replica.storage.fuse = self.random.randint(1, 6)
                self.start(replica)
                replica.storage.fuse = None

    def settle_down(self):
        """Run without misfortune until all have applied the same, or fail."""
        for replica in self.replicas:
            replica.storage.fuse = None
        self.start_all(misfortune=False)
        for _ in range(40):
            for _ in range(100):
                self.step(calm=True)
            if any(replica.core.leads() for replica in self.replicas):
                indexes = {replica.state.index for replica in self.replicas}
                if len(indexes) == 1 and indexes.pop() >= max(self.history, default=0):
                    return
        raise AssertionError(
            f"{[replica.state.index for replica in self.replicas]} of {max(self.history, default=0)} applied"
        )


def run(rack, *, rounds):
    """The whole story: load, misfortune, load, ... and everything acknowledged is there."""
    try:
        rack.start_all()
        for _ in range(rounds):
            for _ in range(rack.random.randint(50, 400)):
                if not rack.running():
                    break
                if rack.random.random() < 0.003:
                    rack.random.choice(rack.replicas).storage.fuse = rack.random.randint(1, 12)
                rack.step()
            rack.misfortune()
        rack.settle_down()
        assert len({codec.state_digest(replica.state) for replica in rack.replicas}) == 1
        assert max(rack.history, default=0) == rack.replicas[0].state.index
    finally:
        for replica in rack.replicas:
            replica.stop()
