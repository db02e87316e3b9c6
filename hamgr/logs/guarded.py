"""The executor that everything above the nodes uses: what attempts printed is masked here.

1. No caller ever sees an unmasked byte of an attempt, so none can show, store or propose one.
2. Offsets, lengths and the order of bytes are the node's own; where a chunk would end in what may be the
   beginning of a secret, it ends before it.
3. An output that came back whole with its attempt is remembered for a while (`RecentOutputs`), so that it
   need not be read again to be stored.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from backends.ports import (
    OUTPUT_BYTES_MAX,
    AttemptKey,
    AttemptState,
    AttemptStatus,
    Host,
    LogChunk,
    Look,
    NodeExecutor,
    ProbeReport,
)
from hamgr.logs.concealed import Masks
from hamgr.logs.masking import Mask, MaskedStream
from hamgr.raft.port import Replica
from statemachine.words import JobId, NodeName

RECENT_BYTES_MIN = 1_000
"""A shorter output is whole in the attempt's result anyhow."""
RECENT_BYTES_MAX = 8 * 1024 * 1024


class RecentOutputs:
    """Whole outputs of attempts that ended just now, the newest, `RECENT_BYTES_MAX` in all."""

    def __init__(self, *, bytes_max: int = RECENT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._outputs: OrderedDict[tuple[str, AttemptKey], bytes] = OrderedDict()
        self._bytes = 0

    def put(self, node: str, key: AttemptKey, output: bytes) -> None:
        self.take(node, key)
        self._outputs[node, key] = output
        self._bytes += len(output)
        while self._bytes > self._bytes_max:
            self._bytes -= len(self._outputs.popitem(last=False)[1])

    def take(self, node: str, key: AttemptKey) -> bytes | None:
        """Return an output and forget it; None when it is not here."""
        output = self._outputs.pop((node, key), None)
        if output is not None:
            self._bytes -= len(output)
        return output


class GuardedExecutor:
    """A `NodeExecutor` that masks what another one brings."""

    def __init__(self, executor: NodeExecutor, *, replica: Replica, recent: RecentOutputs) -> None:
        self._executor = executor
        self._replica = replica
        self._recent = recent
        self._masks = Masks()

    def conceal(self, node: NodeName, job: JobId, text: str) -> str:
        """Return a sentence about `job` on `node` without the secrets that it may quote."""
        return self._masks.of(self._replica.state, node, job).text(text)

    def _mask(self, host: Host, key: AttemptKey) -> Mask:
        state = self._replica.state
        return self._masks.of(state, NodeName(host.name), JobId(key.job.removeprefix(f"{state.cluster}-")))

    async def probe(self, host: Host, *, timeout_s: float) -> ProbeReport:
        return await self._executor.probe(host, timeout_s=timeout_s)

    async def fence(self, host: Host, epoch: int, *, job: str) -> None:
        await self._executor.fence(host, epoch, job=job)

    async def status(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        return self._masked(host, key, await self._executor.status(host, epoch, key))

    async def run(
        self, host: Host, epoch: int, key: AttemptKey, script: bytes, *, wait_s: float
    ) -> AttemptStatus:
        self._mask(host, key)  # what is secret now stays so in this output, whatever is changed meanwhile
        status = self._masked(host, key, await self._executor.run(host, epoch, key, script, wait_s=wait_s))
        if (
            status.state is AttemptState.DONE
            and len(status.output) >= RECENT_BYTES_MIN
            and len(status.output) == status.output_bytes
        ):
            self._recent.put(host.name, key, status.output)
        return status

    async def kill(self, host: Host, epoch: int, key: AttemptKey) -> AttemptStatus:
        """As the port says; the status carries the tail of the output too, which adapters leave out.

        A killed attempt is recorded like any other, and what it printed last is why it is looked at.
        """
        status = await self._executor.kill(host, epoch, key)
        if status.output or not status.output_bytes or status.state is AttemptState.RUNNING:
            return self._masked(host, key, status)
        offset = max(0, status.output_bytes - OUTPUT_BYTES_MAX)
        tail = await self.read_log(host, key, offset=offset, bytes_max=OUTPUT_BYTES_MAX)
        return replace(status, output=tail.data)

    def _masked(self, host: Host, key: AttemptKey, status: AttemptStatus) -> AttemptStatus:
        mask = self._mask(host, key)
        if not mask or not status.output:
            return status
        output = mask.excerpt(
            status.output,
            cut_before=len(status.output) < status.output_bytes,
            cut_after=status.state is AttemptState.RUNNING,
        )
        return replace(status, output=output)

    async def read_log(self, host: Host, key: AttemptKey, *, offset: int, bytes_max: int) -> LogChunk:
        mask = self._mask(host, key)
        if not mask:
            return await self._executor.read_log(host, key, offset=offset, bytes_max=bytes_max)
        margin = mask.margin_bytes
        before = min(offset, margin)
        raw = await self._executor.read_log(
            host, key, offset=offset - before, bytes_max=before + bytes_max + margin
        )
        known = len(raw.data) - (0 if raw.complete else mask.unsure_bytes(raw.data))
        data = mask.apply(raw.data)[before : min(before + bytes_max, known)]
        complete = raw.complete and before + bytes_max >= len(raw.data)
        return replace(raw, offset=offset, data=data, complete=complete)

    async def follow(self, host: Host, key: AttemptKey, *, offset: int) -> AsyncIterator[LogChunk]:
        mask = self._mask(host, key)
        place = offset - min(offset, mask.margin_bytes)
        stream = MaskedStream(mask)
        async with aclosing(_closable(self._executor.follow(host, key, offset=place))) as chunks:
            async for chunk in chunks:
                data = stream.feed(chunk.data) + (stream.end() if chunk.complete else b"")
                skipped = max(0, min(len(data), offset - place))
                place += len(data)
                if data[skipped:] or chunk.complete:
                    yield LogChunk(
                        offset=max(offset, place - len(data)), data=data[skipped:], complete=chunk.complete
                    )

    async def look(
        self, host: Host, script: bytes, *, timeout_s: float, output_bytes_max: int, once: bool = False
    ) -> Look:
        """As the port says, unmasked: it is for a job that no state has, so its caller knows the secrets.

        `jobs.lookout` masks, and has to see where: what a line with a secret replaces is secret as well.
        """
        return await self._executor.look(
            host, script, timeout_s=timeout_s, output_bytes_max=output_bytes_max, once=once
        )

    async def close(self) -> None:
        await self._executor.close()


async def _closable(chunks: AsyncIterator[LogChunk]) -> AsyncGenerator[LogChunk, None]:
    """Make the end of whoever reads the end of what is read, at once."""
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
