"""The thread of consensus: an event loop of its own, so that a busy API cannot cost leadership.

Everything of `consensus` happens on this thread; others hand in requests, many with one wake-up, and look at
what it publishes.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future
from functools import partial

import uvloop

from hamgr.raft.consensus import Consensus
from hamgr.raft.core.core import Core
from hamgr.raft.port import CannotStart
from hamgr.raft.proposals import Proposal
from hamgr.raft.settings import RaftSettings
from hamgr.raft.wire.tls import Credentials

logger = logging.getLogger(__name__)


class Engine:
    """Runs one replica's consensus from `start` to `stop`."""

    def __init__(
        self, settings: RaftSettings, *, watched: Container[bytes], on_news: Callable[[], None]
    ) -> None:
        """Prepare only; see `Consensus` for the arguments. `on_news` is called from the thread."""
        self.consensus = Consensus(settings, watched=watched, on_news=on_news)
        self._on_news = on_news
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = False
        self._stopping = threading.Event()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=f"raft-{settings.name}", daemon=True)

    def start(self) -> Future[None]:
        """Start the thread; the future ends when the replica takes part, or in `CannotStart`."""
        self._thread.start()
        return self._started

    def stop(self) -> None:
        """Ask the thread to end, and wait until it has."""
        self._stopping.set()
        self.ask(lambda _core: self.consensus.over.set())
        self._thread.join()

    def ask(self, request: Callable[[Core], None]) -> None:
        """Have `request` called on the thread before its next turn; never, if the replica stops before."""
        self.consensus.requests.append(request)
        if not self._asked:
            self._asked = True  # before the call: the thread may be quicker than we are
            if not self._call(self._serve):
                self._asked = False

    def submit(self, proposals: Sequence[Proposal]) -> None:
        """Hand proposals to whoever leads; one appears in `refusals` if that is known to have failed."""
        self.ask(partial(self._submit, proposals))

    def confirm(self, number: int) -> None:
        """Begin a linearizable read; its number appears in `reads`, or never."""
        self.ask(partial(self._confirm, number))

    def reload(self, credentials: Credentials) -> None:
        """Use other certificates for new links; see `Links.reload`."""
        links = self.consensus.links
        if links is not None:
            self._call(partial(links.reload, credentials))

    def _call(self, function: Callable[[], None]) -> bool:
        """Have the thread call `function`; False when it takes no calls, yet or any more."""
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed; `failure` or `stop` says the rest
            return False
        return self._loop is not None

    # The thread.

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._live())
        except Exception as error:  # the replica must not seem to live on
            logger.exception("the thread of replica %s failed", self.consensus.settings.name)
            self.consensus.failure = f"consensus failed: {type(error).__name__}"
            if not self._started.done():
                self._started.set_exception(CannotStart(self.consensus.failure))
            self._on_news()

    async def _live(self) -> None:
        consensus = self.consensus
        try:
            await consensus.open()
        except CannotStart as error:
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        self._loop = asyncio.get_running_loop()
        if self._stopping.is_set():
            consensus.over.set()
        self._serve()
        try:
            await consensus.over.wait()
            await consensus.leave()
        finally:
            await consensus.close()

    def _serve(self) -> None:
        self._asked = False
        self.consensus.serve()

    def _submit(self, proposals: Sequence[Proposal], core: Core) -> None:
        for proposal in proposals:
            core.submit(proposal.entry, partial(self._submitted, proposal, core.term))

    def _submitted(self, proposal: Proposal, term: int, taken: bool) -> None:
        if taken:
            proposal.taken_in_term = term
        else:
            self.consensus.refuse(proposal)

    def _confirm(self, number: int, core: Core) -> None:
        core.read_index(partial(self.consensus.confirmed, number))
