"""The guard: hamgr does not run beside a distribution that owns one of its names."""

from hamgr import guard


def test_this_environment_is_ours_alone() -> None:
    assert guard.complaint() == ""


def test_a_distribution_that_owns_one_of_our_names_is_named_with_the_way_out() -> None:
    said = guard.complaint({"statemachine": ["hamgr", "python-statemachine"], "cli": ["hamgr"], "x": ["y"]})
    assert "statemachine (python-statemachine)" in said
    assert "virtual environment of its own" in said
    assert "cli" not in said.split(";")[0].removeprefix("other")
