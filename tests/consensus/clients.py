"""People who write and read through any replica, and ask again when they hear nothing.

1. A write is retried unchanged, through the same replica or another, until it is answered or given up.
2. An answer is believed as the product's replica gives it: the entry was applied where it was handed in.
3. Each write adds a node of its own, so that any later state shows whether it is there.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from statemachine import codec
from statemachine.commands import AddNode, SetGlobals
from statemachine.model import Endpoint
from tests.consensus.figures import Figures
from tests.consensus.hosts import Host
from tests.consensus.laws import Laws
from tests.consensus.schedule import Schedule

THINK_S = 0.06
ASK_AGAIN_S = (0.1, 0.6)
GIVE_UP_S = (1.0, 6.0)
NEW_KIND = b"SetGlobals"
"""What an entry holds that a replica of an older version does not know."""


class Clients:
    """All of them; `count` people, one request at a time each."""

    def __init__(
        self, seed: str, hosts: Iterable[Host], schedule: Schedule, laws: Laws, figures: Figures
    ) -> None:
        self.random = Random(f"{seed}/clients")
        self.new_kind = False
        """Some write what only the last version of the product knows."""
        self.asked = list(hosts)
        """Whom they know."""
        self._schedule, self._laws, self._figures = schedule, laws, figures
        self._written = 0
        self._stopped = False

    def begin(self, count: int) -> None:
        for _ in range(count):
            self._schedule.after(self.random.uniform(0.0, 1.0), self._think)

    def stop(self) -> None:
        """Let nobody ask for anything new."""
        self._stopped = True

    def write(
        self,
        done: Callable[[], None] = lambda: None,
        *,
        give_up_s: float | None = None,
        through: Host | None = None,
    ) -> "Write":
        """Begin a write; `done` is called when it was acknowledged or given up."""
        self._written += 1
        node = f"w{self._written}"
        new = self.new_kind and self.random.random() < 0.1
        command = (
            SetGlobals(request_id=node, at=1.0, actor="test", variables={node: 1})
            if new
            else AddNode(
                request_id=node, at=1.0, actor="test", node=node, endpoint=Endpoint(address=f"{node}.example")
            )
        )
        write = Write(self, codec.encode_command(command), "" if new else node, done, through)
        self._begin(write, give_up_s)
        return write

    def read(
        self,
        done: Callable[[], None] = lambda: None,
        *,
        give_up_s: float | None = None,
        through: Host | None = None,
    ) -> "Read":
        """Begin a linearizable read."""
        read = Read(self, done, self._laws.index_known, through)
        self._begin(read, give_up_s)
        return read

    def _begin(self, question: "Question", give_up_s: float | None) -> None:
        question.ask()
        if give_up_s is None:
            give_up_s = self.random.uniform(*GIVE_UP_S)
        self._schedule.after(give_up_s, question.give_up)

    def _think(self) -> None:
        if not self._stopped:
            question = self.write if self.random.random() < 0.6 else self.read
            question(lambda: self._schedule.after(self.random.expovariate(1 / THINK_S), self._think))


class Question(ABC):
    """What one person waits for."""

    refused = ""
    """How a question that was given up is counted."""

    def __init__(self, clients: Clients, done: Callable[[], None], through: Host | None = None) -> None:
        self.over = False
        self.answered = False
        """What it asked for came; not if it was given up."""
        self.clients = clients
        self._done = done
        self._through = through

    def ask(self) -> None:
        """Ask a replica, and another one later."""
        if self.over:
            return
        clients = self.clients
        host = self._through or clients.random.choice(clients.asked)
        if host.alive:
            host.call(self.put_to)
        clients._schedule.after(clients.random.uniform(*ASK_AGAIN_S), self.ask)

    @abstractmethod
    def put_to(self, host: Host, core: Any, machine: Any) -> None:
        """Ask `host`, which is at work."""

    def give_up(self) -> None:
        if not self.over:
            self.clients._figures.count(self.refused)
            self._end()

    def _end(self) -> None:
        self.over = True
        self._done()


class Write(Question):
    """A command on its way."""

    refused = "write given up"

    def __init__(
        self, clients: Clients, entry: bytes, node: str, done: Callable[[], None], through: Host | None
    ) -> None:
        super().__init__(clients, done, through)
        self.entry = entry
        self.node = node

    def put_to(self, host: Host, core: Any, machine: Any) -> None:
        machine.wait_for(self.entry, lambda _outcome: host.later(self._answered, host.name))
        core.submit(self.entry, lambda _taken: None)

    def _answered(self, name: str) -> None:
        self.clients._laws.was_acknowledged(self.entry, self.node, name)
        if not self.over:
            self.answered = True
            self.clients._figures.count("write acknowledged")
            self._end()


class Read(Question):
    """A linearizable read on its way."""

    refused = "read refused"

    def __init__(self, clients: Clients, done: Callable[[], None], known: int, through: Host | None) -> None:
        super().__init__(clients, done, through)
        self._known = known

    def put_to(self, host: Host, core: Any, machine: Any) -> None:
        def found(index: int | None) -> None:
            if index is not None:
                machine.wait_until(index, reached)

        def reached() -> None:
            host.later(self._answered, host.name, machine.index, machine.state)

        core.read_index(found)

    def _answered(self, name: str, index: int, state: Any) -> None:
        if not self.over:
            self.clients._laws.was_read(name, index, state, known=self._known)
            self.answered = True
            self._end()
