"""How long an API takes to answer while it has other work: a few clients that ask at a steady pace.

1. Requests go out at their times, whether or not earlier ones were slow; one that has to wait for the answer
   before it counts its waiting, so that a stall is not hidden by who stands still with it.
2. Any answer but a success ends the run with an error that shows it.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.bench.consensus_client import Address, Refused, body_bytes, run

PERIOD_S = 0.1
ANSWER_TIMEOUT_S = 30.0
ERROR_CHARS_MAX = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one client asks again and again; `request` makes the whole request with this number."""

    title: str
    address: Address
    request: Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long answers took."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def latency(taken_s: Sequence[float]) -> Latency:
    """Return the figures of at least one answer; p99 is a time that 99 % of them did not exceed."""
    ordered = sorted(taken_s)
    return Latency(
        count=len(ordered),
        p50_ms=ordered[(len(ordered) - 1) // 2] * 1e3,
        p99_ms=ordered[-(-len(ordered) * 99 // 100) - 1] * 1e3,
        max_ms=ordered[-1] * 1e3,
    )


class Responsiveness:
    """Asks from a thread of its own for as long as the context is open."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._questions = questions
        self._taken_s: dict[str, list[float]] = {question.title: [] for question in questions}
        self._failure: Exception | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="responsiveness")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def found(self) -> Mapping[str, Latency]:
        """Return the figures by question, when the context is closed."""
        return {title: latency(taken_s) for title, taken_s in self._taken_s.items()}

    def _run(self) -> None:
        try:
            run(self._ask_all())
        except* (Refused, OSError, TimeoutError) as failures:
            self._failure = failures.exceptions[0]

    async def _ask_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for place, question in enumerate(self._questions):
                group.create_task(self._ask(question, PERIOD_S * place / len(self._questions)))

    async def _ask(self, question: Question, first_s: float) -> None:
        reader, writer = await asyncio.open_connection(*question.address)
        due_s = time.perf_counter() + first_s
        number = 0
        try:
            while not self._over.is_set():
                await asyncio.sleep(due_s - time.perf_counter())
                writer.write(question.request(number))
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    body = await reader.readexactly(body_bytes(head))
                if head[9:10] != b"2":
                    raise Refused((head + body).decode("utf-8", "replace")[:ERROR_CHARS_MAX])
                self._taken_s[question.title].append(time.perf_counter() - due_s)
                number, due_s = number + 1, due_s + PERIOD_S
        finally:
            writer.close()
