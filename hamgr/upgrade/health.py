"""Whether the replica on this machine is well, as its guard asks it: by its own API, as anybody would."""

import http.client
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from hamgr import tokens
from hamgr.config import Config, api_url

ASK_S_MAX = 5.0
PAUSE_S = 0.2
ANSWER_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look.

    Attributes:
        process: Another one than before means that it was started again; 0 when nobody answers.
        trouble: What is wrong; empty when it is well.
    """

    release: str = ""
    process: int = 0
    trouble: str = ""


class Health:
    """Asks one replica."""

    def __init__(self, settings: Config) -> None:
        self._url = urlsplit(api_url(settings.api))
        self._token = tokens.load(settings.token_file)[0].secret
        self._context: ssl.SSLContext | None = None
        if self._url.scheme == "https":
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._context.check_hostname = (
                False  # whoever has a certificate of the cluster's may see the token
            )
            self._context.load_verify_locations(settings.tls.ca)

    def look(self) -> Seen:
        """Return what the replica says now."""
        try:
            status, said = self._get("/v1/upgrade/replica")
            if status != 200:
                return Seen(trouble=f"it answers with status {status}")
            seen = Seen(release=str(said.get("release", "")), process=int(said.get("process", 0)))
            status, said = self._get("/readyz")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Seen(trouble=f"hamgrd does not answer ({getattr(error, 'strerror', None) or error})")
        if status != 200:
            trouble = str(said.get("detail") or f"it is not ready, with status {status}")
            return Seen(release=seen.release, process=seen.process, trouble=trouble)
        return seen

    def _get(self, path: str) -> tuple[int, dict[str, Any]]:
        host = self._url.netloc
        connection = (
            http.client.HTTPConnection(host, timeout=ASK_S_MAX)
            if self._context is None
            else http.client.HTTPSConnection(host, timeout=ASK_S_MAX, context=self._context)
        )
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._token}"})
            answer = connection.getresponse()
            text = answer.read(ANSWER_BYTES_MAX)
            said = json.loads(text) if "json" in answer.headers.get("Content-Type", "") else {}
        finally:
            connection.close()
        return answer.status, said if isinstance(said, dict) else {}


def wait_well(
    look: Callable[[], Seen],
    release: str,
    *,
    deadline_s: float,
    stable_s: float,
    on_answer: Callable[[], None] = lambda: None,
) -> str:
    """Wait until `release` has been well for `stable_s` without a break, and was not started again meanwhile.

    Args:
        deadline_s: For being well at first; a break begins it anew only as far as it is not over.
        on_answer: Called when it is well for the first time.

    Returns:
        Why it is not; empty when it is.
    """
    deadline = time.monotonic() + deadline_s
    well_since, process, told = 0.0, 0, False
    while True:
        seen = look()
        now = time.monotonic()
        trouble = seen.trouble or (
            "" if seen.release == release else f"it runs {seen.release or 'another release'}"
        )
        if trouble or seen.process != process:
            well_since = 0.0
        if not trouble:
            if not told:
                told = True
                on_answer()
            well_since, process = well_since or now, seen.process
            if now - well_since >= stable_s:
                return ""
        if now > (deadline + stable_s if well_since else deadline):
            return trouble or "it was started again and again"
        time.sleep(PAUSE_S)
