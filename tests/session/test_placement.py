"""Placement of workers, on the embedded Mesos with real processes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from t2notebook import JobState, LocalMesos, SubmitError
from t2notebook.cli import main

ATTRIBUTES = [
    "rack:r1;zone:a;level:10;keys:[1000-1500];note:a,b",
    "rack:r2;zone:a;level:2.5;keys:[2000-2100,1200-1200];note:c|d",
]


@pytest.fixture(scope="module")
def racks(home: object) -> Iterator[Any]:
    """A session on a cluster of two racks; both agents are of this one host, as embedded agents are."""
    import t2notebook

    with LocalMesos(agents=2, cpus=4, mem=2048, attributes=ATTRIBUTES) as cluster:
        t2notebook.configure(master=cluster.master)
        yield t2notebook
        t2notebook.shutdown()
        t2notebook.configure(master="local")


def until(job: Any, text: str, timeout: float = 15.0) -> float:
    """Wait until the job says that it waits for something; return the seconds that it took."""
    begun = time.monotonic()
    while text not in job.view().waiting_for:
        assert time.monotonic() - begun < timeout, job.view().waiting_for
        time.sleep(0.02)
    return time.monotonic() - begun


def test_what_no_agent_can_ever_hold_is_said_within_two_seconds(
    racks: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    job = racks.submit(lambda env: None, cpu=64, ram_mega_bytes=64)
    sentence = (
        "1 worker waiting: no agent of this cluster can hold such a worker: 64.1 cpus asked, 0.1 of it for the "
        "executor, the largest of 2 agents has 4.0; at most 3.9 cpus and 1984.0 MiB memory for a worker would do"
    )
    assert until(job, sentence) < 6, "1 s, the question, and a busy machine"
    assert sentence in repr(job)
    why = job.why
    assert (why.lacked == "cpus").all()
    assert (why.offered <= 4.0).all()
    assert why.message.str.contains("4.0 cpus in all, 64.1 asked").sum() == 2, "a row for every agent"
    assert main(["why", job.job_id]) == 0
    assert capsys.readouterr().out.startswith(f"Job {job.job_id} is PENDING: {sentence}.\n\n")
    assert racks.submit(lambda env: 1, ram_mega_bytes=64).results(timeout=20) == [1]
    assert job.state is JobState.PENDING, "somebody may add a larger agent"
    job.kill()
    assert job.wait(timeout=10) is JobState.KILLED


def test_constraints_hold_and_each_worker_has_ports_of_its_own(racks: Any) -> None:
    def look(env: Any) -> tuple[int, ...]:
        import socket

        for port in env.additional_ports:
            with socket.socket() as probe:
                probe.bind(("", port))
        return tuple(env.additional_ports)

    job = racks.submit(look, workers=3, ram_mega_bytes=64, cpu=0.5, ports=2, where="rack=r2")
    ports = [port for mine in job.results(timeout=30) for port in mine]
    assert len(set(ports)) == 6
    assert len(set(job.tasks.agent)) == 1
    launched = job.events
    assert (launched.kind == "LAUNCHED").sum() == 3


@pytest.mark.parametrize(
    ("where", "rack"),
    [
        ("keys=1100", "r1"),
        ("keys=1200,keys!=1100", "r2"),
        ("keys=2010-2090", "r2"),
        ("level=10", "r1"),
        ("level=2.50", "r2"),
        ("note='a,b'", "r1"),
        ("note='c|d'|e", "r2"),
    ],
)
def test_numbers_ranges_and_quoted_values_find_their_agent(racks: Any, where: str, rack: str) -> None:
    job = racks.submit(lambda env: None, ram_mega_bytes=64, cpu=0.5, where=where)
    job.results(timeout=30)
    same = racks.submit(lambda env: None, ram_mega_bytes=64, cpu=0.5, where=f"rack={rack}")
    same.results(timeout=30)
    assert set(job.tasks.agent) == set(same.tasks.agent)


def test_a_value_that_no_agent_has_is_said_with_those_that_there_are(racks: Any) -> None:
    job = racks.submit(lambda env: None, ram_mega_bytes=64, where="keys=7")
    until(job, "no agent of this cluster satisfies keys=7; keys is [1000-1500], [1200-1200, 2000-2100]")
    job.kill()
    job = racks.submit(lambda env: None, ram_mega_bytes=64, where="note='x,y'")
    until(job, 'no agent of this cluster satisfies note="x,y"; note is a,b, c|d')
    job.kill()


def test_workers_are_spread_over_racks(racks: Any) -> None:
    job = racks.submit(lambda env: None, workers=4, ram_mega_bytes=64, cpu=0.5, where="spread:rack")
    job.results(timeout=30)
    assert sorted(Counter(job.tasks.agent).values()) == [2, 2]


def test_a_gang_waits_for_all_its_resources_and_then_starts_at_once(racks: Any) -> None:
    def hold(env: Any) -> None:
        import time

        while not env.config["stop"].exists():
            time.sleep(0.05)

    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        stop = Path(folder, "stop")
        first = racks.submit(hold, workers=2, cpu=1, ram_mega_bytes=64, config={"stop": stop})
        while first.state is not JobState.STARTED:
            time.sleep(0.02)
        gang = racks.submit(lambda env: env.worker_id, workers=6, cpu=1, ram_mega_bytes=64, gang=True)
        until(gang, "gang: 4 of 6 workers fit")
        assert set(gang.tasks.state) == {"PENDING"}
        small = racks.submit(lambda env: 1, cpu=1, ram_mega_bytes=64)
        assert small.results(timeout=20) == [1], "a gang that cannot be whole blocks nobody"
        stop.touch()
        assert gang.results(timeout=30) == list(range(6))
        assert first.wait(timeout=20) is JobState.COMPLETED
    assert main(["why", gang.job_id]) == 0


def test_a_gang_that_this_cluster_can_never_hold_is_told_so(racks: Any) -> None:
    job = racks.submit(lambda env: None, workers=9, cpu=1, ram_mega_bytes=64, gang=True)
    until(job, "this cluster cannot hold the whole gang: 6 of 9 workers would fit on its 2 agents")
    job.kill()


def test_gpus_that_this_session_is_not_offered_are_named(racks: Any) -> None:
    job = racks.submit(lambda env: None, gpus=1, ram_mega_bytes=64)
    until(job, "set t2.configure(gpus=True)")
    job.kill()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"where": "rack"}, "'rack' is no constraint"),
        ({"nodes": "h1,,h2"}, "one of the names is empty"),
        ({"gang_timeout": 0}, "gang_timeout is 0"),
        ({"ports": -1}, "ports is -1"),
        ({"gpus": 0.5}, "gpus is 0.5"),
        ({"max_worker_restarts": -1}, "max_worker_restarts is -1"),
    ],
)
def test_what_cannot_be_is_refused_at_once(racks: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SubmitError, match=message):
        racks.submit(lambda env: None, **arguments)


def test_gpus_on_a_session_that_takes_them(home: object) -> None:
    import t2notebook

    with LocalMesos(agents=1, cpus=2, mem=1024, gpus=2) as cluster:
        t2notebook.configure(master=cluster.master, gpus=True)
        try:
            job = t2notebook.submit(lambda env: env.worker_id, workers=2, cpu=0.5, ram_mega_bytes=64, gpus=1)
            assert job.results(timeout=30) == [0, 1]
            more = t2notebook.submit(lambda env: None, ram_mega_bytes=64, gpus=3)
            until(more, "3 GPUs asked, the only one has 2")
            more.kill()
        finally:
            t2notebook.shutdown()
            t2notebook.configure(master="local", gpus=False)
