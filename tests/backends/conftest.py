"""The worlds that the contract suite runs over."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.backends.worlds import World, sshd_path, world


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for `there` over each adapter; over OpenSSH where it is installed."""
    if "there" not in metafunc.fixturenames:
        return
    kinds = ["memory", "sandbox"]
    if sshd_path() is not None:
        kinds.append("openssh")
    elif "CI" in os.environ and os.geteuid() == 0:
        raise pytest.UsageError("CI must run the contract over OpenSSH too; install openssh-server")
    metafunc.parametrize("there", kinds, indirect=True)


@pytest.fixture
async def there(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with world(request.param, tmp_path) as running:
        yield running
