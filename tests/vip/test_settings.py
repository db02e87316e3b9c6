import pytest
from pydantic import ValidationError

from hamgr.vip.settings import VIPSection


def test_addresses_of_both_families_are_taken() -> None:
    section = VIPSection(addresses=("10.0.0.5/24", "fd00::5/64"), interface="eth0")
    assert [str(each.ip) for each in section.interfaces] == ["10.0.0.5", "fd00::5"]


@pytest.mark.parametrize(
    ("addresses", "says"),
    [
        ((), "at least 1"),
        (("10.0.0.5",), "prefix"),
        (("ten/24",), "ADDRESS/PREFIX"),
        (("127.0.0.5/8",), "cannot move"),
        (("224.0.0.1/24",), "cannot move"),
        (("fe80::5/64",), "link-local"),
        (("10.0.0.0/24",), "network's own"),
        (("10.0.0.255/24",), "network's own"),
        (("10.0.0.5/24", "10.0.0.5/16"), "named twice"),
    ],
)
def test_an_address_that_cannot_follow_a_leader_is_refused_with_the_reason(
    addresses: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        VIPSection(addresses=addresses, interface="eth0")


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="adress"):
        VIPSection.model_validate({"addresses": ["10.0.0.5/24"], "interface": "eth0", "adress": 1})
