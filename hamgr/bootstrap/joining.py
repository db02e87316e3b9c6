"""A further replica: it redeems a join token, writes what it was given, and asks for a vote.

1. Its name, id and key are decided and on the disk before anything is said, so that it is the same machine to
   the cluster however often it is killed and begins again.
2. Whatever was done is found and not done again; the same command leads to the end from everywhere.
"""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from hamgr.bootstrap import calls
from hamgr.bootstrap.founding import describe, put_in_force, sweep_leftovers
from hamgr.bootstrap.places import (
    CannotBegin,
    Places,
    check_free,
    make_folder,
    one_sentence,
    own_address,
    with_port,
    write,
)
from hamgr.config import HTTPS
from hamgr.security import requests
from hamgr.security.backup_key import FILE as BACKUP_KEY
from hamgr.security.join_token import Invitation

PLAN, KEY = "joining.json", "replica.key"
RAFT_PORT, API_PORT = 7001, 7080
VOTERS_MAX = 5
"""As long as a replica of an earlier version does not say how many should vote."""
TRY_PAUSE_S = 1.0
TRIES_S_MAX = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Who joins; written before the cluster hears of it.

    Attributes:
        token: SHA-256 of the token's secret.
    """

    token: str
    name: str
    replica: str
    raft: str
    api: str


def join(
    places: Places, invitation: Invitation, *, name: str, raft: str = "", api: str = "",
    say: Callable[[str], None] = lambda _line: None,
) -> Plan:  # fmt: skip
    """Make this machine a replica of the token's cluster; it is not started, and has no vote yet.

    Args:
        raft, api: By default this machine's address on the way to the cluster, and the usual ports.

    Raises:
        CannotBegin: The machine or the cluster refused; what was decided stays, and the command can be given
            again.
    """
    if invitation.joins_as != "replica":
        raise CannotBegin(
            f"the token is for a {invitation.joins_as}; make one with `hamgr token create --for replica`"
        )
    plan = _plan_of(places)
    if places.config.exists():
        if plan is None or not _joined(places, plan, invitation, name):
            places.check_unused()
        else:
            places.draft.unlink(missing_ok=True)
            say(f"{places.config} is there: {plan.name} has joined already")
            return plan
    with one_sentence("it did not join"):
        if plan is None:
            places.check_unused()
        url, ca_pem = calls.find(invitation.urls, invitation.authority)
        say(f"{url} is of the cluster that the token names")
        if plan is not None and (plan.name, raft or plan.raft, api or plan.api) == (
            name,
            plan.raft,
            plan.api,
        ):
            plan = replace(plan, token=invitation.sha256)  # an earlier one may have expired on the way
            write(places.etc / PLAN, json.dumps(asdict(plan)))
        else:
            plan = _decide(places, invitation, name=name, raft=raft, api=api, url=url)
            say(f"this machine is {plan.name}: {plan.raft}, {plan.api}")
        given = _redeem(places, plan, invitation, url, ca_pem)
        say(f"the token is redeemed; the cluster has {len(given['members'])} other replicas")
        _write_down(places, plan, given)
    return plan


def vote(places: Places, plan: Plan, *, timeout_s: float, say: Callable[[str], None]) -> str:
    """Wait until the replica, which must run, has caught up and is a voter, or stands by; return which.

    Raises:
        CannotBegin: Not within `timeout_s`.
    """
    settings: dict[str, Any] = yaml.safe_load(places.config.read_text())
    ca_pem = Path(settings["tls"]["ca"]).read_text()
    token = Path(settings["token_file"]).read_text().splitlines()[0].split()[-1]
    urls = [_url(peer["api"]) for peer in settings["peers"].values()]
    body = {"id": plan.replica, "raft": plan.raft, "api": plan.api}
    deadline, told = time.monotonic() + timeout_s, ""
    while True:
        for url in urls:
            try:
                found = calls.get_replicas(url, ca_pem, token)
                members, voters_max = found["items"], found.get("target", VOTERS_MAX)
                own = next((one for one in members if one["id"] == plan.replica), None)
                voters = sum(one["role"] == "voter" for one in members)
                if own is not None and own["role"] == "voter":
                    return "voter"
                if own is not None and own["caught_up"] and voters >= voters_max:
                    return "standby"
                sentence = "it gets the log"
                if voters < voters_max:
                    own = calls.put_replica(url, ca_pem, token, plan.name, body)
                    if own.get("role") == "voter":
                        return "voter"
                    if own.get("caught_up"):
                        return "standby"
            except calls.NoAnswer as error:
                sentence = f"{url}: {error}"
            if sentence != told:
                told = sentence
                say(f"waiting for its vote: {sentence}")
        if time.monotonic() > deadline:
            raise CannotBegin(
                f"{plan.name} has no vote after {timeout_s:.0f} s ({told}); "
                "see whether its hamgrd runs, and give the same command again"
            )
        time.sleep(TRY_PAUSE_S)


def _joined(places: Places, plan: Plan, invitation: Invitation, name: str) -> bool:
    """Return whether this machine has joined with this token, or with an earlier one under this name."""
    if plan.token == invitation.sha256:
        return True
    try:
        found = calls.fingerprint((places.etc / "ca.crt").read_text())
    except (OSError, ValueError):
        return False
    return plan.name == name and found == invitation.authority


def _url(api: str) -> str:
    return api if api.startswith(HTTPS) else f"http://{api}"


def _plan_of(places: Places) -> Plan | None:
    """Return what an earlier attempt has decided."""
    try:
        said = json.loads((places.etc / PLAN).read_text())
        return Plan(**said)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise CannotBegin(f"{places.etc / PLAN} is damaged; remove it and have another token made") from error


def _decide(places: Places, invitation: Invitation, *, name: str, raft: str, api: str, url: str) -> Plan:
    address = own_address(urlsplit(url).hostname or "")
    plan = Plan(
        token=invitation.sha256,
        name=name,
        replica=str(uuid.uuid4()),
        raft=raft or with_port(address, RAFT_PORT),
        api=api or HTTPS + with_port(address, API_PORT),
    )
    check_free(plan.raft, plan.api)
    sweep_leftovers(places)
    make_folder(places.etc, 0o700)
    make_folder(places.data, 0o700)
    write(places.draft, "")  # so that the next attempt knows these folders for ours
    write(places.etc / KEY, requests.make_key())
    write(places.etc / PLAN, json.dumps(asdict(plan)))
    return plan


def _redeem(places: Places, plan: Plan, invitation: Invitation, url: str, ca_pem: str) -> dict[str, Any]:
    """Redeem the token at whatever replica answers, for as long as the cluster may be without a leader."""
    request = requests.ask((places.etc / KEY).read_bytes(), plan.name).decode("ascii")
    body = {
        "secret": invitation.secret,
        "name": plan.name,
        "replica": plan.replica,
        "raft": plan.raft,
        "api": plan.api,
        "request": request,
    }
    deadline = time.monotonic() + TRIES_S_MAX
    while True:
        try:
            return calls.post_join(url, ca_pem, body)
        except calls.NoAnswer as error:
            if time.monotonic() > deadline:
                raise CannotBegin(f"{url}: {error}; give the same command again") from error
        except CannotBegin:
            if not places.config.exists():
                _forget(places, plan)
            raise
        time.sleep(TRY_PAUSE_S)
        url, ca_pem = calls.find(invitation.urls, invitation.authority)


def _forget(places: Places, plan: Plan) -> None:
    """Take back what was decided: the cluster refused it, so it knows nothing of it."""
    (places.etc / PLAN).unlink(missing_ok=True)
    places.sweep("", plan.replica)


def _write_down(places: Places, plan: Plan, given: dict[str, Any]) -> None:
    """Write what the cluster has given, and put it in force."""
    secrets = {
        "ca.key": given["authority_key"],
        "token": given["tokens"],
        "id_ed25519": given["ssh_keys"][0],
        BACKUP_KEY: given["backup_key"],
    }
    keys = [str(places.etc / "id_ed25519")]
    for number, text in enumerate(given["ssh_keys"][1:], start=2):
        secrets[f"id_{number}"] = text
        keys.append(str(places.etc / f"id_{number}"))
    for file, text in secrets.items():
        if text:
            write(places.etc / file, text)
    write(places.etc / "ca.crt", given["authority"], mode=0o644)
    write(places.etc / "replica.crt", given["certificate"], mode=0o644)
    write(places.draft, json.dumps({"cluster": given["cluster"], "replica": plan.replica}))
    settings = describe(places, name=plan.name, raft=plan.raft, api=plan.api)
    settings |= {
        "join": True,
        "peers": {
            one["name"]: {"id": one["id"], "raft": one["raft"], "api": one["api"]} for one in given["members"]
        },
        "ssh": {"keys": keys},
        **given["settings"],
    }
    put_in_force(places, settings, cluster=given["cluster"], replica=plan.replica)
