"""The lab that tests share: made once for a session, repaired before each test."""

from collections.abc import Iterator

import pytest

from tests.lab.kit import Lab
from tests.lab.kit.slots import claimed_lab

HOSTS = 5


@pytest.fixture(scope="session")
def lab_session() -> Iterator[Lab]:
    with claimed_lab() as lab:
        lab.up(HOSTS)
        yield lab


@pytest.fixture
def lab(lab_session: Lab) -> Iterator[Lab]:
    """Hosts n1 to n5, all on, joined and awake; disks are as earlier tests left them (`wipe` helps)."""
    lab_session.repair()
    yield lab_session
    lab_session.end_processes()


@pytest.fixture
def on_lab_network(lab: Lab) -> Iterator[Lab]:
    """The same, with the test itself on the lab's network: its sockets and processes reach the hosts."""
    with lab.in_hub():
        yield lab
