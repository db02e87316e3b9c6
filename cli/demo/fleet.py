"""What the demo asks of the cluster: the API that everybody has, in the words of the story."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cli import archive
from cli.client import Client
from cli.demo.layout import Layout
from cli.exits import CliError

T = TypeVar("T")

DEADLINE_S = 60.0
POLL_S = 0.05


class DemoFailed(Exception):
    """Something that the demo promises did not happen; the message says what was seen instead."""


def until(what: str, holds: Callable[[], T], *, poll_s: float = POLL_S) -> T:
    """Return what `holds` returns as soon as it is true.

    Raises:
        DemoFailed: It was not within `DEADLINE_S`.
    """
    deadline = time.monotonic() + DEADLINE_S
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise DemoFailed(f"waited {DEADLINE_S:.0f} s for {what}")
        time.sleep(poll_s)
    return value


class Fleet:
    """A client of the practice cluster."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._client = Client(servers=tuple(layout.urls), token=layout.token, timeout_s=DEADLINE_S)

    def leader(self, *, without: str = "") -> str:
        """Return the replica that says of itself that it leads; empty when none does."""
        for plan in self._layout.replicas:
            if plan.name != without and (self.replica(plan.name) or {}).get("leads"):
                return plan.name
        return ""

    def replica(self, name: str, *, digest: bool = False) -> dict[str, Any] | None:
        """Return what one replica knows of itself; None when it does not answer."""
        return self._on(name, "/v1/replica", digest=digest)

    def _on(self, name: str, path: str, **query: Any) -> dict[str, Any] | None:
        url = next(plan.url for plan in self._layout.replicas if plan.name == name)
        client = Client(servers=(url,), token=self._layout.token, timeout_s=0.0)
        try:
            found: dict[str, Any] = client.get(path, **query)
        except CliError:
            return None
        else:
            return found
        finally:
            client.close()

    def submit(self, kind: str, **fields: Any) -> str:
        """Submit a job and return its id."""
        return str(self._client.call("POST", "/v1/jobs", body={"kind": kind, **fields}).data["id"])

    def job(self, job: str) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get(f"/v1/jobs/{job}")
        return found

    def job_without(self, leader: str, job: str) -> dict[str, Any] | None:
        """Return the job as the first other replica that answers has it."""
        others = (plan.name for plan in self._layout.replicas if plan.name != leader)
        seen = (self._on(name, f"/v1/jobs/{job}", consistency="stale") for name in others)
        return next((found for found in seen if found), None)

    def nodes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.get("/v1/nodes", limit=1000)["items"]
        return found

    def set_variables(self, node: str, **variables: Any) -> None:
        self._client.call("PATCH", f"/v1/nodes/{node}", body={"variables": variables})

    def push(self, directory: Path, message: str) -> str:
        """Push a bundle; return its digest."""
        data = archive.pack(directory)
        answer = self._client.call("POST", "/v1/bundles", data=data, query={"message": message})
        return str(answer.data["digest"])

    def events(self, job: str) -> list[dict[str, Any]]:
        """Return what happened in a job."""
        found = self._client.get("/v1/events", follow="0")["items"]
        return [event for event in found if event["job"] == job]

    def close(self) -> None:
        self._client.close()
