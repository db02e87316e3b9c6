"""A client that writes on while a test does its worst, and knows what it was promised."""

import threading
import time

from tests.cluster.harness import Cluster

PAUSE_S = 0.1


class Writer:
    """Writes on for as long as the context is open, one after the other, each until it is acknowledged."""

    def __init__(self, cluster: Cluster, prefix: str = "w") -> None:
        self._cluster, self._prefix, self._stop = cluster, prefix, threading.Event()
        self._failure: AssertionError | None = None
        self.acknowledged: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None and error[0] is None:
            raise self._failure

    def lost(self) -> set[str]:
        """Return what was acknowledged and is not there."""
        return {*self.acknowledged} - {*self._cluster.ask("GET", "/v1/globals").ok()["variables"]}

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                key = f"{self._prefix}{len(self.acknowledged)}"
                self._cluster.ask("PATCH", "/v1/globals", {"variables": {key: 1}}).ok()
                self.acknowledged.append(key)
                time.sleep(PAUSE_S)
        except AssertionError as failure:  # the test's own thread tells
            self._failure = failure
