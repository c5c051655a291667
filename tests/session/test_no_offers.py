"""Reasons why no offer comes, on the embedded Mesos with real processes: each time in one sentence that is true."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from t2notebook import LocalMesos
from t2notebook.notebook.forms.form import ask
from tests.localmesos.client import Framework, resources, task
from tests.session.test_placement import until


@pytest.fixture(scope="module")
def cluster(home: object) -> Iterator[LocalMesos]:
    with LocalMesos(agents=1, cpus=2, mem=1024) as one:
        yield one


@pytest.fixture
def t2(cluster: LocalMesos) -> Iterator[Any]:
    import t2notebook

    t2notebook.configure(master=cluster.master)
    yield t2notebook
    t2notebook.shutdown()
    t2notebook.configure(master="local", gpus=False)


def test_agents_with_gpus_are_kept_from_a_session_that_does_not_ask_for_them(t2: Any) -> None:
    with LocalMesos(agents=2, cpus=2, mem=1024, gpus=1) as cluster:
        t2.configure(master=cluster.master)
        job = t2.submit(lambda env: 1, ram_mega_bytes=64)
        until(
            job, "every agent of this cluster has GPUs, and Mesos keeps such agents from this session; set "
        )
        why = job.why
        assert list(why.lacked) == ["gpus", "gpus"]
        assert why.message.str.contains("has 1 GPU, so Mesos keeps it from this session").all()
        job.kill()
        t2.configure(gpus=True)
        assert t2.submit(lambda env: 1, ram_mega_bytes=64).results(timeout=30) == [1]
        t2.shutdown()


def test_another_framework_holds_the_offers(cluster: LocalMesos, t2: Any) -> None:
    hoarder = Framework(cluster.master).subscribed()
    hoarder.offers()
    job = t2.submit(lambda env: 1, ram_mega_bytes=64)
    until(job, "the master has made no offer: what is free on 127.0.0.1 is offered to another framework now")
    assert job.why.message.tolist() == ["127.0.0.1: what is free is offered to another framework now"]
    hoarder.call("TEARDOWN")
    hoarder.close()
    assert job.results(timeout=30) == [1]
    assert job.view().waiting_for == ""


def test_another_framework_uses_all(cluster: LocalMesos, t2: Any) -> None:
    other = Framework(cluster.master).subscribed()
    offer = other.offers()[0]
    other.accept(offer, [task("t", offer, {"value": "sleep 1000"}, resources=resources(cpus=1.9, mem=1000))])
    other.until("TASK_RUNNING")
    other.call("SUPPRESS")
    job = t2.submit(lambda env: 1, ram_mega_bytes=64)
    begun = time.monotonic()
    while "cpus free, 1.1 asked" not in job.view().waiting_for:
        assert time.monotonic() - begun < 15, job.view().waiting_for
        time.sleep(0.05)
    assert "127.0.0.1: " in job.view().waiting_for
    other.call("TEARDOWN")
    other.close()
    assert job.results(timeout=30) == [1]


def test_an_agent_that_died_is_told_first_as_disconnected_then_as_unreachable(t2: Any) -> None:
    with LocalMesos(agents=1, cpus=2, mem=1024) as cluster:
        t2.configure(master=cluster.master)
        assert t2.submit(lambda env: 1, ram_mega_bytes=64).results(timeout=30) == [1]
        assert cluster.faults is not None
        cluster.faults.kill("agent1")
        job = t2.submit(lambda env: 1, ram_mega_bytes=64)
        until(job, "no agent of this cluster takes tasks: 127.0.0.1 is disconnected from the master")
        until(job, "this cluster has no agents; 1 is unreachable", timeout=30)
        cluster.faults.start("agent1")
        assert job.results(timeout=60) == [1]
        t2.shutdown()


@contextlib.contextmanager
def swallowing(host: str) -> Iterator[tuple[int, socket.socket]]:
    """A port at which whoever connects waits, as behind a firewall that drops: its backlog is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind((host, 0))
        server.listen(0)
        for _ in range(3):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(server.getsockname())
        yield server.getsockname()[1], server


def test_agents_that_cannot_connect_back_are_told_early_and_at_the_end(t2: Any) -> None:
    """What agents are told to connect to leads nowhere; the session itself listens elsewhere."""
    with LocalMesos(agents=1, cpus=2, mem=1024) as cluster, swallowing("127.0.0.2") as (port, server):
        t2.configure(master=cluster.master, bind="127.0.0.1", port=port, advertise_host="127.0.0.2")
        job = t2.submit(lambda env: 1, ram_mega_bytes=64, max_worker_restarts=0)
        url = f"http://127.0.0.2:{port}"
        asked = "can agents connect to it? t2.configure(advertise_host=..., port=...) says where they can"
        given = "agent 127.0.0.1 was given 1 worker 8 s ago"
        told = f"{given}, and nothing of it has reached this session at {url}; {asked}"
        assert 5 < until(job, told, timeout=20) < 15
        assert told in repr(job)
        assert job.why.lacked.tolist() == ["contact"]
        assert job.why.message.tolist() == [told]
        server.close()
        job.wait(timeout=60)
        assert (
            f"nothing of agent 127.0.0.1 has ever reached this session at {url}; {asked}"
            in job.view().message
        )
        t2.shutdown()
        t2.configure(bind="", port=0, advertise_host="")


def test_what_fits_is_told_from_the_masters_state(cluster: LocalMesos, t2: Any) -> None:
    """Offers are suppressed while no job waits; so the master is asked what its agents have."""
    form = t2.ResourceForm(workers=3, cpus=0.5, ram=64)
    found = form.forecast()
    assert (found["now"]["workers"], found["later"]["workers"]) == (3, 3)
    assert [agent["planned"] for agent in found["agents"]] == [3] and found["hosts"] == ["127.0.0.1"]
    other = Framework(cluster.master).subscribed()
    (offer,) = other.offers()
    other.accept(offer, [task("t", offer, {"value": "sleep 1000"}, resources=resources(cpus=1.0, mem=32))])
    deadline = time.monotonic() + 20
    while (found := form.forecast())["now"]["workers"] != 1:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert found["later"]["workers"] == 3 and [agent["waiting"] for agent in found["agents"]] == [2]
    other.call("TEARDOWN")
    other.close()


def test_a_master_that_is_not_there_is_named_instead_of_what_fits(t2: Any) -> None:
    t2.configure(master="127.0.0.1:9")
    with pytest.raises(t2.SessionError):
        ask(t2.ResourceForm().values, 1.0)
    t2.shutdown()
