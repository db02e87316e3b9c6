from hamgr.api import cluster

HELD = {"addresses": ["10.0.0.5/24"], "held": True, "trouble": None}
FREE = {**HELD, "held": False}


def test_without_a_virtual_address_nothing_is_told_of_one() -> None:
    assert cluster.vip({"r1": None, "r2": None}) is None
    assert cluster.vip_warnings(None) == []


def test_the_holder_is_named_whoever_is_asked() -> None:
    found = cluster.vip({"r1": FREE, "r2": HELD, "r3": None})
    assert found == {"addresses": ["10.0.0.5/24"], "holder": "r2", "troubles": []}
    assert cluster.vip_warnings(found) == []


def test_an_address_that_nobody_holds_is_a_warning_with_the_reason() -> None:
    found = cluster.vip({"r1": {**FREE, "trouble": "10.0.0.5 is already used by 02:00"}, "r2": FREE})
    (warning,) = cluster.vip_warnings(found)
    assert warning["code"] == "vip-not-held"
    assert "r1: 10.0.0.5 is already used by 02:00" in warning["message"]


def test_a_replica_that_could_not_hold_the_address_is_a_warning_before_it_leads() -> None:
    found = cluster.vip({"r1": HELD, "r2": {**FREE, "trouble": "hamgrd lacks CAP_NET_RAW"}})
    assert [each["code"] for each in cluster.vip_warnings(found)] == ["vip-trouble"]
