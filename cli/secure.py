"""TLS to replicas, which move between hosts: whom their certificate names counts, and not where they are."""

import http.client
import os
import ssl

REPLICA = "/replica/"


class ReplicaConnection(http.client.HTTPSConnection):
    """A connection to whoever the authority of HAMGR_CA_FILE calls a replica, at whatever address.

    A server with another certificate of that authority must have one for the host that was asked, as usual.
    """

    def connect(self) -> None:
        """Connect.

        Raises:
            ssl.SSLCertVerificationError: The server's certificate is not good, or not for this host.
        """
        super().connect()
        found = self.sock.getpeercert() or {}
        names = [str(name[1]) for name in found.get("subjectAltName", ()) if name[0] == "URI"]
        if any(name.startswith("hamgr://") and REPLICA in name for name in names):
            return
        self.close()
        strict = http.client.HTTPSConnection(
            self.host, self.port, timeout=self.timeout, context=_context(by_host=True)
        )
        strict.connect()
        self.sock = strict.sock


def connection(netloc: str, timeout_s: float) -> http.client.HTTPSConnection:
    """Return a connection that is opened by its first request."""
    if not os.environ.get("HAMGR_CA_FILE"):
        return http.client.HTTPSConnection(netloc, timeout=timeout_s, context=_context(by_host=True))
    return ReplicaConnection(netloc, timeout=timeout_s, context=_context(by_host=False))


def _context(*, by_host: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=os.environ.get("HAMGR_CA_FILE"))
    context.check_hostname = by_host
    return context
