"""One replica that is a cluster by itself: all of consensus above a real folder, here or in its own process.

Run as a program, `SETTINGS COUNT`, it proposes nodes until COUNT are acknowledged, printing each name.
"""

import asyncio
import os
import sys
import uuid
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[4]))

from hamgr.raft.port import CannotStart, ConsensusError
from hamgr.raft.protocol.membership import Configuration, Member, ReplicaId
from hamgr.raft.replica import RaftReplica
from hamgr.raft.settings import RaftSettings
from hamgr.raft.store import identity
from hamgr.raft.wire.tls import Credentials
from hamgr.security.authority import Authority
from tests.hamgr.raft import kit
from tests.ports import free_ports

PROGRAM = Path(__file__)
LONG_S = 20.0
EXIT_FAILED, EXIT_CANNOT_START = 70, 78


def settings_at(folder: Path, *, made: bool = True, **more) -> RaftSettings:
    """Return the settings of a replica whose files are in `folder`, which may be those of an earlier call."""
    folder.mkdir(exist_ok=True)
    files = Credentials(ca=folder / "ca.crt", certificate=folder / "r1.crt", key=folder / "r1.key")
    if not files.ca.exists():
        authority = Authority.create()
        authority.save(folder)
        authority.issue_replica("r1", str(uuid.uuid4())).save(files.certificate, files.key)
        (folder / "port").write_text(str(free_ports(1)[0]))
    who = files.identity()
    me = ReplicaId(who.id)
    address = f"127.0.0.1:{(folder / 'port').read_text()}"
    settings = RaftSettings(
        me=me,
        cluster=who.cluster,
        name="r1",
        address=address,
        initial=Configuration((Member(id=me, name="r1", raft=address),)),
        data_dir=folder / "data",
        credentials=files,
        **more,
    )
    if made and not (settings.data_dir / "identity").exists():
        identity.create(settings.data_dir, cluster=who.cluster, replica=me)
    return settings


async def _run(folder: Path, count: int) -> None:
    failed = asyncio.get_running_loop().create_future()
    replica = RaftReplica(settings_at(folder, snapshot_entries=64), on_failure=failed.set_result)
    await replica.start()
    begun = len((await replica.read(timeout_s=LONG_S)).nodes)
    try:
        for number in range(begun, begun + count):
            await replica.propose(kit.add_node(f"n{number}"), timeout_s=LONG_S)
            os.write(1, b"n%d\n" % number)
    except ConsensusError:
        print(await asyncio.wait_for(failed, LONG_S), file=sys.stderr)
        sys.exit(EXIT_FAILED)
    finally:
        await replica.stop()


if __name__ == "__main__":
    try:
        asyncio.run(_run(Path(sys.argv[1]), int(sys.argv[2])))
    except CannotStart as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_CANNOT_START)
