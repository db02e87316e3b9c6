"""A replica's certificate, renewed in time by the authority's key that is on the replica.

1. The key stays: only one file changes, in one rename, so that no crash leaves a pair that does not fit.
2. Without the authority's key nothing is renewed; hamgrd then warns from the thirtieth day before the end.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hamgr.bootstrap.places import write
from hamgr.config import Config, ConfigError
from hamgr.membership import credentials_of
from hamgr.raft.port import CannotStart
from hamgr.security.authority import Authority, BadCertificate
from hamgr.security.requests import BadRequest, public_half

log = logging.getLogger(__name__)

BEFORE = timedelta(days=60)
"""So long before its end a certificate is renewed: longer before than anybody is warned."""
CHECK_EVERY_S = 3_600.0


def due(settings: Config, now: datetime) -> bool:
    """Return whether the certificate ends within `BEFORE`; raises `CannotStart` when it cannot be used."""
    return credentials_of(settings).identity().not_after - now < BEFORE


def renew(settings: Config) -> datetime:
    """Write a new certificate for the same replica and key; return when it ends.

    Raises:
        ConfigError: The authority's key is not here, or a file cannot be used; the old certificate stays.
    """
    tls = settings.tls
    if tls.authority_key is None:
        raise ConfigError(
            "tls.authority_key is not set, so that nothing can be signed here; "
            "where the authority is: hamgrd make-certificates --renew"
        )
    try:
        authority = Authority.read(tls.ca, tls.authority_key)
        owner = credentials_of(settings).identity()
        signed = authority.sign_replica(public_half(tls.key.read_bytes()), settings.name, owner.id)
        write(tls.certificate, signed, mode=0o644)
        return credentials_of(settings).identity().not_after
    except (OSError, BadCertificate, BadRequest, CannotStart) as error:
        raise ConfigError(f"the certificate cannot be renewed: {error}") from error


async def keep_renewed(settings: Config, reload: Callable[[], None]) -> None:
    """Renew the certificate whenever it is due, for as long as this is not cancelled."""
    while settings.tls.authority_key is not None:
        try:
            if await asyncio.to_thread(due, settings, datetime.now(UTC)):
                until = await asyncio.to_thread(renew, settings)
                reload()
                log.info("the certificate was renewed until %s", f"{until:%Y-%m-%d}")
        except (ConfigError, CannotStart) as error:
            log.error("%s", error)  # noqa: TRY400 - the sentence says it all
        await asyncio.sleep(CHECK_EVERY_S)
