"""hamgrd: one replica, run from its start to its end.

Start order: configuration, certificate, consensus, manager, API. Stop order is the reverse, in one
function, and a stop leaves what runs on nodes alone: another replica adopts it.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import uvloop

from backends.blobs import BlobError
from hamgr import api, config, guard, interpreter
from hamgr.commands import EXIT_CONFIGURATION, fail, main
from hamgr.composition import compose
from hamgr.config import HTTPS, Config, ConfigError
from hamgr.membership import credentials_of
from hamgr.raft.port import CannotStart
from hamgr.raft.replica import RaftReplica
from hamgr.recovery.switching import unfinished
from hamgr.renewal import keep_renewed
from hamgr.transport import ApiTLS

log = logging.getLogger("hamgrd")


def _serving(
    settings: Config,
    context: api.ApiContext,
    tls: ApiTLS,
    doors: Sequence[tuple[socket.socket, ssl.SSLContext]],
) -> contextlib.AbstractAsyncContextManager[str]:
    secure = settings.api.startswith(HTTPS)
    address = settings.api.removeprefix(HTTPS)
    return api.serving(api.build_app(context), address, tls=tls.server if secure else None, doors=doors)


@contextlib.asynccontextmanager
async def running(settings: Config, tls: ApiTLS, path: Path) -> AsyncIterator[RaftReplica]:
    """Run one replica for as long as the context is open."""
    parts = compose(settings, tls, path)
    doors = [] if parts.vip is None else parts.vip.doors(tls.server)
    await parts.replica.start()
    duties = [asyncio.create_task(duty()) for duty in parts.duties]
    try:
        async with (
            _serving(settings, parts.context, tls, doors),
            contextlib.nullcontext() if parts.vip is None else parts.vip.running(),
        ):
            yield parts.replica
    finally:
        for task in reversed(duties):
            task.cancel()
        await asyncio.gather(*duties, return_exceptions=True)
        await parts.executor.close()
        await parts.replica.stop()


async def serve(settings: Config, path: Path) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP has the certificates read again."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tls = ApiTLS(credentials_of(settings))
    async with running(settings, tls, path) as replica:

        def reload() -> None:
            replica.reload(credentials_of(settings))
            tls.reload()

        loop.add_signal_handler(signal.SIGHUP, reload)
        renewing = asyncio.create_task(keep_renewed(settings, reload))
        interpreter.settle()
        log.info("replica %s serves its API on %s", settings.name, settings.api)
        notify("READY=1")
        await stop.wait()
        renewing.cancel()
        notify("STOPPING=1")


def notify(message: str) -> None:
    """Tell systemd, if it started us (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(message.encode(), "\0" + path[1:] if path.startswith("@") else path)


def run(path: Path) -> None:
    """Run the replica that the configuration describes, until SIGTERM; errors end the process."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    interpreter.set_up()
    if foreign := guard.complaint():
        fail(foreign, EXIT_CONFIGURATION)
    try:
        settings = config.load(path)
        if why := unfinished(settings.data_dir):
            fail(why, EXIT_CONFIGURATION)
        uvloop.run(serve(settings, path))
    except (ConfigError, BlobError, ValueError) as error:
        fail(error, EXIT_CONFIGURATION)
    except (CannotStart, OSError) as error:
        fail(error)


if __name__ == "__main__":
    main()
