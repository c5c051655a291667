from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from t2notebook.scheduler.hosts import Avoided, Hosts


def test_one_failure_is_an_accident_two_are_not_and_then_the_time_doubles() -> None:
    hosts = Hosts()
    hosts.seen(["h1", "h2"])
    hosts.failed("h1", 0.0)
    assert hosts.avoided(0.0) == {}
    for times, seconds in enumerate([30.0, 60.0, 120.0], start=2):
        hosts.failed("h1", 100.0)
        assert hosts.avoided(100.0) == {"h1": Avoided(100.0 + seconds, times)}
        assert hosts.avoided(100.0 + seconds) == {}
    for _ in range(2000):
        hosts.failed("h1", 100.0)
    assert hosts.avoided(100.0)["h1"].until == 3700.0, "an hour at the most"


def test_a_success_clears() -> None:
    hosts = Hosts()
    hosts.seen(["h1", "h2"])
    for _ in range(5):
        hosts.failed("h1", 0.0)
    hosts.succeeded("h1")
    hosts.failed("h1", 0.0)
    assert hosts.avoided(0.0) == {}


def test_the_only_host_is_never_avoided() -> None:
    hosts = Hosts()
    for _ in range(5):
        hosts.failed("h1", 0.0)
    assert hosts.avoided(1.0) == {}
    hosts.seen(["h2"])
    assert set(hosts.avoided(1.0)) == {"h1"}
    hosts.gone("h2")
    assert hosts.avoided(1.0) == {}


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from(["failed", "succeeded", "seen"]), st.floats(0, 100)
        ),
        max_size=30,
    )
)
def test_there_is_always_somewhere_to_go(happened: list[tuple[str, str, float]]) -> None:
    hosts, known, now = Hosts(), set(), 0.0
    for host, what, seconds in happened:
        known.add(host)
        now += seconds
        if what == "failed":
            hosts.failed(host, now)
        elif what == "succeeded":
            hosts.succeeded(host)
        else:
            hosts.seen([host])
        avoided = hosts.avoided(now)
        assert len(avoided) < len(known)
        assert all(bad.until > now and bad.failures >= 2 for bad in avoided.values())
