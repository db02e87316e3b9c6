"""What configuration and certificate together say about a replica: who it is, and who the others are."""

from hamgr.config import Config, ConfigError, api_url
from hamgr.raft.protocol.membership import BadConfiguration, Configuration, Member, ReplicaId
from hamgr.raft.settings import InvalidSettings, RaftSettings
from hamgr.raft.wire.tls import Credentials
from hamgr.security.authority import PeerIdentity


def credentials_of(settings: Config) -> Credentials:
    """Return the paths of a replica's certificate, key and CA."""
    return Credentials(ca=settings.tls.ca, certificate=settings.tls.certificate, key=settings.tls.key)


def raft_settings(settings: Config, owner: PeerIdentity, *, version: str) -> RaftSettings:
    """Return what the consensus of a replica has to know.

    Args:
        owner: Whom its certificate is for.

    Raises:
        ConfigError: Configuration and certificate contradict each other, or nobody could run with them.
    """
    own = settings.peers.get(settings.name)
    if own is not None and own.id != owner.id:
        raise ConfigError(
            f"peers.{settings.name}.id is {own.id}, but {settings.tls.certificate} is for {owner.id}; "
            "copy the ids that `hamgrd make-certificates` prints"
        )
    addresses = {
        settings.name: (owner.id, settings.raft, settings.api),
        **{name: (peer.id, peer.raft, peer.api) for name, peer in settings.others.items()},
    }
    if settings.join:  # who comes with an empty log must not begin a cluster, not even with others like it
        del addresses[settings.name]
    try:
        members = tuple(
            Member(id=ReplicaId(replica), name=name, raft=raft, api=api_url(api))
            for name, (replica, raft, api) in addresses.items()
        )
        return RaftSettings(
            me=ReplicaId(owner.id),
            cluster=owner.cluster,
            name=settings.name,
            address=settings.raft,
            api=api_url(settings.api),
            initial=Configuration(members),
            data_dir=settings.raft_dir,
            credentials=credentials_of(settings),
            timers=settings.timers.timers(),
            version=version,
        )
    except (BadConfiguration, InvalidSettings) as error:
        raise ConfigError(f"peers: {error}") from error
