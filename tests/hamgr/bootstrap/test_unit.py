"""The systemd unit: one text, whether hamgrd writes it or an operator takes the one of deploy/."""

from pathlib import Path

from hamgr.bootstrap.places import DATA, ETC
from hamgr.bootstrap.unit import unit

DEPLOYED = Path(__file__).parents[3] / "deploy/systemd/hamgrd.service"


def test_the_unit_of_deploy_is_the_one_that_hamgrd_writes() -> None:
    written = unit(config=ETC / "hamgrd.yaml", data=DATA, words=["/opt/hamgr/current/bin/hamgrd"])
    assert DEPLOYED.read_text() == written


def test_the_unit_has_what_the_virtual_address_needs_and_no_other_power() -> None:
    lines = DEPLOYED.read_text().splitlines()
    assert "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW" in lines
    assert "KillMode=mixed" in lines
    families = next(line for line in lines if line.startswith("RestrictAddressFamilies="))
    assert {"AF_NETLINK", "AF_PACKET"} <= set(families.partition("=")[2].split())
