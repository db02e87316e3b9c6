"""The token bucket: a burst, then a rate, whatever the clock does."""

from hamgr.discovery.bucket import Bucket


def test_a_burst_passes_and_then_as_many_as_the_rate_gives() -> None:
    bucket = Bucket(per_s=10.0, burst=5)
    assert [bucket.take(0.0) for _ in range(5)] == [0.0] * 5
    assert bucket.take(0.0) == 0.1
    passed = sum(bucket.take(tick / 100) == 0.0 for tick in range(1, 1_001))
    assert 99 <= passed <= 101


def test_what_is_not_used_is_kept_up_to_the_burst_and_no_more() -> None:
    bucket = Bucket(per_s=10.0, burst=5)
    bucket.take(0.0)
    assert [bucket.take(1_000.0) for _ in range(6)].count(0.0) == 5


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(per_s=10.0, burst=1)
    assert bucket.take(100.0) == 0.0
    assert bucket.take(0.0) > 0.0
    assert bucket.take(0.05) > 0.0


def test_five_thousand_in_a_minute_are_bounded() -> None:
    bucket = Bucket(per_s=50.0, burst=200)
    passed = sum(bucket.take(number * 60 / 5_000) == 0.0 for number in range(5_000))
    assert passed <= 50 * 60 + 200
