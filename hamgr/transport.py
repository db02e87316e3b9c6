"""TLS of the HTTP API between machines: the replica's own certificate on both sides, read again on SIGHUP.

1. Replicas that call each other believe whoever has a replica's certificate of the cluster's authority; names
   of hosts play no part, since replicas move.
2. Clients prove who they are by their token; a certificate of theirs is looked at when they show one.
"""

import logging
import ssl

from hamgr.raft.port import CannotStart
from hamgr.raft.wire.tls import Credentials

log = logging.getLogger(__name__)


class ApiTLS:
    """The two contexts of one replica; both stay the same objects for as long as it runs."""

    def __init__(self, credentials: Credentials) -> None:
        """Read the files; raises `CannotStart` when they cannot be used."""
        self._credentials = credentials
        self.server = credentials.server_context()
        self.server.verify_mode = ssl.CERT_OPTIONAL
        self.client = credentials.client_context()

    def reload(self) -> None:
        """Use the files as they are now for new connections; bad ones are logged and change nothing."""
        try:
            self._credentials.identity()
            self._credentials.server_context()
        except CannotStart as error:
            log.error("the API keeps its certificate: %s", error)  # noqa: TRY400 - the sentence says it all
            return
        for context in (self.server, self.client):
            context.load_cert_chain(self._credentials.certificate, self._credentials.key, password="")
