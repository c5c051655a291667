from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from t2notebook.scheduler.placement.host_health import LONGEST_WHY, Excluded, HostHealth


def test_one_failure_is_an_accident_two_are_not_and_then_the_time_doubles() -> None:
    hosts = HostHealth()
    hosts.seen(["h1", "h2"])
    hosts.failed("h1", "a", 0.0)
    assert hosts.excluded(0.0) == {}
    for times, seconds in enumerate([30.0, 60.0, 120.0], start=2):
        now = 1000.0 * times
        hosts.failed("h1", "a", now)
        assert hosts.excluded(now) == {"h1": Excluded(now + seconds, times)}
        assert hosts.excluded(now + seconds) == {}
    for number in range(2000):
        hosts.failed("h1", "a", 10_000.0 + number)
    assert hosts.excluded(11_999.0)["h1"].until == 11_999.0 + 3600.0, "an hour at the most"


def test_workers_that_fall_together_are_one_failure() -> None:
    hosts = HostHealth()
    hosts.seen(["h1", "h2"])
    for number in range(100):
        hosts.failed("h1", "a", number / 1000)
    assert hosts.excluded(0.1) == {}
    hosts.failed("h1", "b", 0.1)
    assert hosts.excluded(0.1) == {"h1": Excluded(30.1, 2)}, "but another job's is another"


def test_a_job_that_fails_in_the_end_takes_its_failures_along() -> None:
    hosts = HostHealth()
    hosts.seen(["h1", "h2", "h3"])
    for number in range(10):
        hosts.failed("h1", "crashes", 10.0 * number)
        hosts.failed("h2", "crashes", 10.0 * number)
        hosts.failed("h2", "good", 10.0 * number)
    hosts.forget_job("crashes")
    assert set(hosts.excluded(100.0)) == {"h2"}


def test_a_success_clears() -> None:
    hosts = HostHealth()
    hosts.seen(["h1", "h2"])
    for number in range(5):
        hosts.failed("h1", "a", 10.0 * number)
    hosts.succeeded("h1")
    hosts.failed("h1", "a", 60.0)
    assert hosts.excluded(60.0) == {}


def test_the_only_host_is_never_avoided() -> None:
    hosts = HostHealth()
    for number in range(5):
        hosts.failed("h1", "a", 10.0 * number)
    assert hosts.excluded(41.0) == {}
    hosts.seen(["h2"])
    assert set(hosts.excluded(41.0)) == {"h1"}
    hosts.gone("h2")
    assert hosts.excluded(41.0) == {}


def test_a_host_that_is_gone_is_nowhere_else_to_go_and_keeps_its_failures() -> None:
    hosts = HostHealth()
    hosts.seen(["h1", "h2", "h3"])
    for number in range(5):
        hosts.failed("h1", "a", 10.0 * number)
        hosts.failed("h2", "a", 10.0 * number + 1)
    assert set(hosts.excluded(45.0)) == {"h1", "h2"}
    hosts.gone("h3")  # only bad ones are left: the one that is free first is used
    assert set(hosts.excluded(45.0)) == {"h2"}
    hosts.gone("h1")
    assert set(hosts.excluded(45.0)) == {"h1"}
    hosts.seen(["h1", "h3"])  # an agent that comes back is as bad as before
    assert set(hosts.excluded(45.0)) == {"h1", "h2"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from(["failed", "succeeded", "seen"]), st.floats(0, 100)
        ),
        max_size=30,
    )
)
def test_there_is_always_somewhere_to_go(happened: list[tuple[str, str, float]]) -> None:
    hosts, known, now = HostHealth(), set(), 0.0
    for host, what, seconds in happened:
        known.add(host)
        now += seconds
        if what == "failed":
            hosts.failed(host, "a", now)
        elif what == "succeeded":
            hosts.succeeded(host)
        else:
            hosts.seen([host])
        excluded = hosts.excluded(now)
        assert len(excluded) < len(known)
        assert all(bad.until > now and bad.failures >= 2 for bad in excluded.values())


def test_the_last_reason_is_kept_in_one_short_line() -> None:
    """Of a host that workers could not start on, it was only said how often they had not."""
    hosts = HostHealth()
    hosts.seen(["h1", "h2"])
    for number, why in enumerate(("exited with code 3", "no way back\nTraceback", "x" * 1000)):
        hosts.failed("h1", "a", 10.0 * number, why)
    assert hosts.excluded(20.0)["h1"].why == "x" * LONGEST_WHY + "…"
    hosts.failed("h1", "a", 30.0, "no way back\nTraceback")
    assert hosts.excluded(30.0)["h1"].why == "no way back"
