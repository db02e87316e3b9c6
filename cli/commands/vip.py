"""hamgr vip: the address that follows the leader."""

import itertools
import threading
import time
from collections.abc import Mapping
from typing import Any

import click

from cli import jobs
from cli.exits import CliError, Exit
from cli.lazy import LazyGroup
from cli.options import Leaf, client, confirm, settings, yes_option
from cli.output import ago, clean, show, styled

PROBE_EVERY_S = 0.01
PROBE_TIMEOUT_S = 1.0
PROBES_MAX = 128
"""Open at once: a try that fell into the gap must not hold up the next one."""
STEADY_S = 0.5
"""For so long the address must have answered before it is moved, and is watched afterwards."""
MOVE_S_MAX = 20.0
QUESTION = b"GET /v1/health/leader HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n"


@click.group(cls=LazyGroup)
def vip() -> None:
    """The virtual address, which the leader holds: show it, and test that it moves."""


@vip.command("show", cls=Leaf, examples="hamgr vip show\nhamgr vip show -o json")
def show_vip() -> None:
    """Show who holds the address, and what keeps it from being held; exit code 1 when nobody does."""
    data = client().get("/v1/vip")
    show(settings().output, data, names=data["addresses"], text=_text(data))
    jobs.end(Exit.OK if data["held"] else Exit.FAILED)


@vip.command("test", cls=Leaf, examples="hamgr vip test\nhamgr vip test --to r2 --yes")
@click.option("--to", metavar="REPLICA", help="Who shall lead; any connected voter when left out.")
@yes_option
def test(to: str | None, *, yes: bool) -> None:
    """Hand leadership to another replica, and print for how long the address did not answer from here."""
    asked = client()
    before = asked.get("/v1/vip")
    if not before["held"]:
        why = clean(before["trouble"]) or f"{before['leader'] or 'nobody'} leads"
        raise CliError(Exit.CONFLICT, f"nobody holds the address: {why}", hint="hamgr vip show")
    if before["port"] is None:
        raise CliError(
            Exit.CONFLICT,
            "nothing listens at the address, so no gap can be measured",
            hint="set vip.port in the configurations of all replicas (docs/vip.md)",
        )
    heir = to or _heir(asked.get("/v1/replicas")["items"])
    confirm(f"Have {heir} lead, and take {', '.join(before['addresses'])} from {before['replica']}?", yes=yes)
    host = str(before["addresses"][0]).partition("/")[0]
    with Probe(host, int(before["port"])) as probe:
        if not probe.steady():
            raise CliError(
                Exit.UNREACHABLE,
                f"{host} does not answer on port {before['port']}",
                hint="hamgr vip show",
            )
        moved_at = time.monotonic()
        asked.call("POST", f"/v1/replicas/{heir}:lead")
        after = _held_by(asked, heir)
        probe.watch(STEADY_S)
        gap_s = probe.longest_gap_s(moved_at)
    data = {"from": before["replica"], "to": heir, "gap_s": round(gap_s, 3), "addresses": after["addresses"]}
    text = f"{host} moved from {before['replica']} to {heir}; it did not answer for {gap_s * 1000:.0f} ms"
    show(settings().output, data, names=[heir], text=text)


class Probe:
    """Connects to the address again and again, whatever became of the last try, and notes each answer."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._answers: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Probe":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def steady(self) -> bool:
        """Watch for a moment; say whether it answers."""
        self.watch(STEADY_S)
        return bool(self._answers)

    def watch(self, for_s: float) -> None:
        """Let the thread go on for so long."""
        self._stop.wait(for_s)

    def longest_gap_s(self, since: float) -> float:
        """Return the longest time without an answer, of those that ended after `since`."""
        answers = sorted(self._answers)
        pairs = itertools.pairwise(answers)
        return max((later - earlier for earlier, later in pairs if later > since), default=float("inf"))

    def _run(self) -> None:
        import asyncio  # noqa: PLC0415 - 30 ms that only this command is worth

        asyncio.run(self._ask_on())

    async def _ask_on(self) -> None:
        import asyncio  # noqa: PLC0415 - as above
        import ssl  # noqa: PLC0415 - as above

        # Nothing is told to whoever answers, so whoever it is need not prove anything.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        tries: set[asyncio.Task[None]] = set()
        while not self._stop.is_set():
            if len(tries) < PROBES_MAX:
                one = asyncio.create_task(self._ask(context))
                tries.add(one)
                one.add_done_callback(tries.discard)
            await asyncio.sleep(PROBE_EVERY_S)
        for one in tries:
            one.cancel()
        await asyncio.gather(*tries, return_exceptions=True)

    async def _ask(self, context: Any) -> None:
        import asyncio  # noqa: PLC0415 - as above

        writer = None
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(*self._target, ssl=context)
                writer.write(QUESTION)
                if (await reader.readline()).startswith(b"HTTP/1.1 200"):
                    self._answers.append(time.monotonic())
        except OSError:  # TimeoutError is one
            return
        finally:
            if writer is not None:
                writer.transport.abort()


def _held_by(asked: Any, heir: str) -> Any:
    """Wait until `heir` holds the address."""
    deadline = time.monotonic() + MOVE_S_MAX
    while True:
        data = asked.get("/v1/vip")
        if data["held"] and data["replica"] == heir:
            return data
        if time.monotonic() > deadline:
            why = clean(data["trouble"]) or f"{clean(data['leader']) or 'nobody'} leads"
            raise CliError(Exit.FAILED, f"{heir} does not hold the address: {why}", hint="hamgr vip show")
        time.sleep(PROBE_EVERY_S)


def _heir(replicas: list[Mapping[str, Any]]) -> str:
    for one in replicas:
        if one["role"] == "voter" and one["connected"] and not one["leader"]:
            return str(one["name"])
    raise CliError(Exit.CONFLICT, "no other voter is connected to take over", hint="hamgr status")


def _text(data: Mapping[str, Any]) -> str:
    where = f"{', '.join(data['addresses'])} on {clean(data['interface'])}"
    if data["held"]:
        held = f"{styled('held', fg='green')} by {clean(data['replica'])} for {ago(data['since'])}"
    else:
        held = styled("held by nobody", fg="red")
    lines = [f"address  {where}", f"holder   {held}"]
    if data["port"] is not None:
        lines.append(f"api      port {data['port']}, by TLS")
    if data["held"]:
        size = data["watchdog"]["resident_bytes"]
        taken = "" if size is None else f", {size / 2**20:.0f} MiB"
        guard = f"guarded by process {data['watchdog']['pid']}{taken}"
        lines.append(f"lease    {data['lease_s'] * 1000:.0f} ms, {guard}")
    if data["trouble"]:
        lines.append(f"{styled('!', fg='yellow')} {clean(data['trouble'])}")
    lines += [f"{ago(one['at']):>7} ago  {clean(one['what'])}" for one in data["news"][-5:]]
    return "\n".join(lines)
