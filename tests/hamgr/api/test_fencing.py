"""What status says of fencing commands."""

from hamgr.api import cluster


def test_a_fencing_command_that_failed_is_a_warning_that_names_the_replica_and_the_way_out() -> None:
    told = {
        "r1": {"fencing": {"failure": "r2 could not be switched off: no route to host"}},
        "r2": {"fencing": {"failure": ""}},
        "r3": {"fencing": None},
        "r4": {},  # of an earlier version
        "r5": None,
    }
    (warning,) = cluster.fencing_warnings(told)
    assert warning["code"] == "fencing-failed"
    assert warning["message"] == "r1: r2 could not be switched off: no route to host"
    assert "by hand" in warning["hint"]
