"""Scaling by hand and by load, workers that are lost, and tasks that want more memory than there is."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.dataflow.conftest import SMALL, eventually
from tests.dataflow.functions import grow, parity, slowly, square

distributed = pytest.importorskip("distributed")

from t2notebook.dataflow.settings import Settings  # noqa: E402

Make = Callable[..., Any]


def names(cluster: Any) -> set[str]:
    return {str(worker["name"]) for worker in cluster.scheduler_info["workers"].values()}


def states(cluster: Any) -> list[str]:
    return [state for job in cluster.jobs for state in job.tasks.state]


def test_scale_up_down_and_up_again_loses_nothing(make: Make) -> None:
    cluster = make(workers=4)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(4, timeout=60)
        futures = client.map(square, range(40))
        distributed.wait(futures, timeout=30)
        assert all(client.has_what().values()), "each worker has some"
        computed = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
        cluster.scale(1)
        eventually(lambda: len(names(cluster)) == 1)
        assert client.gather(futures) == [square(number) for number in range(40)]
        began = [
            line
            for line in client.run_on_scheduler(
                lambda dask_scheduler: [
                    (str(entry[0]), entry[1], entry[2]) for entry in dask_scheduler.transition_log
                ]
            )
            if line[2] == "processing"
        ]
        assert len(began) == 40, "nothing was computed again"
        assert computed
        eventually(lambda: sorted(states(cluster)) == ["FINISHED"] * 3 + ["RUNNING"])
        cluster.scale(3)
        client.wait_for_workers(3, timeout=60)
        assert len(cluster.workers) == 3
        assert len({*cluster.workers} - set("0123")) == 2, "names are not used again"


@pytest.mark.slow
def test_scale_to_none_and_back(make: Make) -> None:
    cluster = make(workers=2)
    cluster.wait_for_workers(2, timeout=60)
    cluster.scale(0)
    eventually(lambda: not names(cluster) and cluster.jobs[0].state.is_final)
    assert cluster.plan == set()
    with distributed.Client(cluster) as client:
        future = client.submit(square, 5)
        cluster.scale(1)
        assert future.result(timeout=60) == 25


def test_workers_that_wait_leave_first(make: Make) -> None:
    cluster = make(workers=2)
    cluster.wait_for_workers(2, timeout=60)
    cluster.scale(40)
    eventually(lambda: "PENDING" in states(cluster))
    cluster.scale(2)
    eventually(lambda: len(cluster.workers) == 2 and sorted(names(cluster)) == ["0", "1"])
    assert cluster.why().empty, "nothing that waits is wanted any more"
    eventually(lambda: not {"PENDING", "STAGING"} & set(states(cluster)))
    eventually(lambda: states(cluster).count("RUNNING") == 2 and "KILLING" not in states(cluster), timeout=30)


def test_scale_by_memory_and_cores(make: Make) -> None:
    cluster = make(cpu=1, threads=2)
    cluster.scale(cores=3)
    eventually(lambda: len(cluster.workers) == 2)
    cluster.scale(memory="600 MiB")
    eventually(lambda: len(cluster.workers) == 3)


@pytest.mark.parametrize("count", [-1, 1.5, "2", True])
def test_scaling_to_what_cannot_be(make: Make, count: Any) -> None:
    from t2notebook.dataflow.requirements import DataflowError

    with pytest.raises(DataflowError, match="cannot scale to"):
        make().scale(count)


@pytest.mark.slow
def test_calls_in_quick_succession_come_to_the_last(make: Make) -> None:
    cluster = make()
    for count in (3, 1, 4, 0, 2):
        cluster.scale(count)
    cluster.wait_for_workers(2, timeout=60)
    eventually(lambda: len(names(cluster)) == 2 and len(cluster.workers) == 2)


@pytest.mark.parametrize("adapts", [False, True])
def test_a_killed_worker_comes_back_with_and_without_adapt(make: Make, adapts: bool) -> None:
    cluster = make(workers=2)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        if adapts:
            cluster.adapt(minimum=2, maximum=2, interval="100ms")
        before = set(client.scheduler_info()["workers"])
        pid = client.submit(os.getpid, workers=["0"]).result(timeout=30)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(set(cluster.scheduler_info["workers"]) - before) == 1)
        client.wait_for_workers(2, timeout=60)
        assert names(cluster) == {"0", "1"}, "it keeps its name"
        assert client.submit(square, 6, workers=["0"]).result(timeout=30) == 36


def test_a_worker_that_is_lost_for_good_is_replaced(make: Make) -> None:
    cluster = make(workers=1, max_worker_restarts=0)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(1, timeout=60)
        client.run(print, "hello from the first")
        os.kill(client.submit(os.getpid).result(timeout=30), signal.SIGKILL)
        eventually(lambda: names(cluster) == {"1"})
        logs = cluster.get_logs(scheduler=False)
        assert "worker 0 has ended" in logs["Cluster"]
        assert "hello from the first" in logs["0"], "what it has written is still there"


def test_restart(make: Make) -> None:
    cluster = make(workers=2, max_worker_restarts=0)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        before = set(client.run(os.getpid).values())
        for _ in range(3):
            client.restart(timeout=60)
        after = set(client.run(os.getpid).values())
        assert len(after) == 2 and not before & after
        assert client.submit(square, 7).result(timeout=30) == 49
        assert names(cluster) == {"0", "1"}


@pytest.mark.slow
def test_a_worker_whose_task_is_killed_is_replaced(make: Make) -> None:
    """As a master does that takes resources back: the worker is told to end, and has a moment for that."""
    cluster = make(workers=2)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        futures = client.map(square, range(20))
        distributed.wait(futures, timeout=30)
        cluster.jobs[0].kill(1)
        eventually(lambda: names(cluster) == {"0", "2"})
        assert client.gather(futures) == [square(number) for number in range(20)]


@pytest.mark.slow
def test_a_worker_that_is_retired_by_hand_is_replaced(make: Make) -> None:
    """As `scale` wants so many."""
    cluster = make(workers=2)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        address = min(client.scheduler_info()["workers"])
        client.retire_workers([address])
        eventually(lambda: "2" in names(cluster) and len(names(cluster)) == 2)


def test_adapt_grows_with_the_tasks_and_shrinks_when_they_are_done(make: Make) -> None:
    cluster = make()
    adaptive = cluster.adapt(minimum=0, maximum=3, interval="100ms", target_duration="1s")
    with distributed.Client(cluster) as client:
        futures = client.map(slowly, range(30), seconds=0.3)
        eventually(lambda: len(names(cluster)) == 3, timeout=60)
        assert client.gather(futures) == [square(number) for number in range(30)]
        total = client.submit(sum, futures)
        assert total.result(timeout=30) == sum(square(number) for number in range(30))
        del futures
        eventually(lambda: len(names(cluster)) == 1, timeout=30)
        assert total.result(timeout=30) > 0, "what is wanted stays"
        del total
        eventually(lambda: not names(cluster), timeout=30)
        ups = [entry for _, entry in adaptive.log if entry["status"] == "up"]
        assert len(ups) <= 3, "it does not flap"
        assert client.submit(square, 3).result(timeout=60) == 9, "and grows again"


def test_adapt_goes_on_when_all_workers_are_lost_at_once(make: Make) -> None:
    """Preempted ones, too, and those that may not be started again."""
    cluster = make(max_worker_restarts=0)
    adaptive = cluster.adapt(minimum=0, maximum=2, interval="100ms", target_duration="1s")
    with distributed.Client(cluster) as client:
        futures = client.map(slowly, range(20), seconds=0.2)
        eventually(lambda: len(names(cluster)) == 2, timeout=60)
        for pid in client.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)
        assert client.gather(futures) == [square(number) for number in range(20)]
        assert not {"0", "1"} & set(cluster.workers), "others have come"
        del futures
        eventually(lambda: not names(cluster) and not cluster.workers, timeout=30)
        assert client.submit(square, 3).result(timeout=60) == 9, "it grows again"
        assert adaptive.state == "running"


def test_adapt_does_not_ask_for_one_worker_after_another_where_none_can_be(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from t2notebook.dataflow import adaptive as module

    cluster = make(worker_options={"no_such_option": 1})
    adaptive = cluster.adapt(minimum=1, interval="20ms")
    eventually(lambda: cluster.is_infeasible and not cluster.workers, timeout=60)
    seen = len(adaptive.log)
    eventually(lambda: len(adaptive.log) > seen + 10)
    assert len(cluster.jobs) == 1
    assert "no_such_option" in cluster.get_logs(scheduler=False, workers=False)["Cluster"]
    monkeypatch.setattr(module, "RETRY", 0.0)
    eventually(lambda: len(cluster.jobs) > 1)


@pytest.mark.slow
def test_a_worker_whose_data_fits_nowhere_else_stays(make: Make) -> None:
    from distributed.core import Status

    def become(status: Status, dask_worker: Any) -> None:
        dask_worker.status = status

    def is_known(status: Status) -> bool:
        def ask(dask_scheduler: Any) -> str:
            return str(dask_scheduler.workers[other].status.name)

        return bool(client.run_on_scheduler(ask) == status.name)

    cluster = make(workers=2)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        future = client.submit(square, 12, workers=["1"])
        distributed.wait(future, timeout=30)
        (other,) = (
            address for address, worker in client.scheduler_info()["workers"].items() if worker["name"] == "0"
        )
        client.run(become, Status.paused, workers=[other])
        eventually(lambda: is_known(Status.paused))
        cluster.sync(cluster.scale_down, ["1"])
        assert set(cluster.workers) == {"0", "1"} and future.result(timeout=30) == 144
        assert "worker 1 stays" in cluster.get_logs(scheduler=False, workers=False)["Cluster"]
        client.run(become, Status.running, workers=[other])
        eventually(lambda: is_known(Status.running))
        cluster.sync(cluster.scale_down, ["1"])
        eventually(lambda: names(cluster) == {"0"})
        assert future.result(timeout=30) == 144


@pytest.mark.slow
def test_an_error_of_the_dask_scheduler_does_not_end_scaling(make: Make) -> None:
    """Of a type of its own, such as KeyError for a worker that is lost while it is told to leave."""

    def fail_once(dask_scheduler: Any) -> None:
        real = dask_scheduler.handlers["retire_workers"]

        async def failing(**arguments: Any) -> None:
            dask_scheduler.handlers["retire_workers"] = real
            raise KeyError("tls://lost")

        dask_scheduler.handlers["retire_workers"] = failing

    cluster = make(workers=2)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        client.run_on_scheduler(fail_once)
        cluster.scale(1)
        eventually(lambda: len(names(cluster)) == 1 and len(cluster.workers) == 1)
        cluster.scale(2)
        client.wait_for_workers(2, timeout=60)


@pytest.mark.slow
def test_adapting_anew_takes_the_new_bounds_and_ends_with_the_cluster(make: Make) -> None:
    cluster = make()
    first = cluster.adapt(minimum=3, interval="50ms")
    cluster.wait_for_workers(3, timeout=60)
    with distributed.Client(cluster) as client:
        futures = client.map(slowly, range(40), seconds=0.3)
        second = cluster.adapt(minimum=1, maximum=1, interval="50ms")
        eventually(lambda: len(names(cluster)) == 1 and len(cluster.workers) == 1, timeout=30)
        assert (first.state, second.state) == ("stopped", "running")
        client.cancel(futures)
    cluster.close()
    assert second.state == "stopped"


@pytest.mark.slow
def test_no_more_workers_than_tasks(make: Make) -> None:
    import dask

    with dask.config.set({"distributed.scheduler.default-task-durations": {"slowly": 1000}}):
        cluster = make()
        cluster.adapt(minimum=0, maximum=3, interval="20ms")
        with distributed.Client(cluster) as client:
            assert client.submit(slowly, 3).result(timeout=60) == 9
    assert len(states(cluster)) == 1


@pytest.mark.slow
def test_adapt_ends_workers_of_a_group_together(make: Make) -> None:
    cluster = make(workers=4)
    cluster.wait_for_workers(4, timeout=60)
    cluster.adapt(minimum=1, interval="50ms", worker_key=parity)
    eventually(lambda: len(cluster.workers) < 4)
    eventually(lambda: names(cluster) in ({"0", "2"}, {"1", "3"}))


@pytest.mark.slow
def test_adapt_keeps_to_its_bounds_and_does_not_churn(make: Make) -> None:
    cluster = make()
    cluster.adapt(minimum=1, maximum=2, interval="50ms")
    with distributed.Client(cluster) as client:
        client.wait_for_workers(1, timeout=60)
        for _ in range(10):
            client.submit(square, 2, pure=False).result(timeout=30)
            time.sleep(0.1)
        assert len(cluster.jobs) <= 2, "workers are kept, not made anew"
        client.gather(client.map(slowly, range(20)))
        assert len(cluster.workers) <= 2


@pytest.mark.slow
def test_scale_after_adapt_is_by_hand_again(make: Make) -> None:
    cluster = make()
    adaptive = cluster.adapt(minimum=2, maximum=3, interval="50ms")
    cluster.wait_for_workers(2, timeout=60)
    cluster.stop_adapting()
    cluster.scale(1)
    eventually(lambda: len(names(cluster)) == 1)
    time.sleep(0.3)
    assert adaptive.state == "stopped" and len(cluster.workers) == 1


def test_adapt_by_cores_and_memory(make: Make) -> None:
    cluster = make(threads=2)
    adaptive = cluster.adapt(minimum_cores=3, maximum_memory="1 GiB", interval="1h")
    assert (adaptive.minimum, adaptive.maximum) == (2, 4)


def test_a_task_that_outgrows_its_worker_fails_and_kills_one_worker_only(make: Make, tmp_path: Path) -> None:
    cluster = make(workers=3)
    tried = tmp_path / "tried"
    with distributed.Client(cluster) as client:
        client.wait_for_workers(3, timeout=60)
        future = client.submit(grow, 400, str(tried))
        others = client.map(slowly, range(20))
        with pytest.raises(distributed.KilledWorker):
            future.result(timeout=60)
        assert client.gather(others) == [square(number) for number in range(20)]
        assert tried.read_text() == "tried\n"
        assert "MiB while it runs grow" in cluster.get_logs(cluster=False, workers=False)["Scheduler"]
        client.wait_for_workers(3, timeout=60)


@pytest.mark.parametrize(
    ("used", "limit", "seconds"),
    [(0, 100 << 20, 0.05), (100 << 20, 512 << 20, 0.19), (1 << 30, 64 << 30, 0.5)],
)
def test_memory_is_looked_at_the_more_often_the_less_is_left(used: int, limit: int, seconds: float) -> None:
    from t2notebook.dataflow.agent.memory import FILLING, FRACTION, pause

    assert pause(used, limit) == pytest.approx(seconds, abs=0.01)
    assert pause(used, limit) <= 0.05 or used + FILLING * pause(used, limit) <= FRACTION * limit


def test_a_function_that_workers_cannot_import_fails_soon_and_says_why(make: Make, tmp_path: Path) -> None:
    import sys

    cluster = make(workers=2)
    folder = tmp_path / "late"
    folder.mkdir()
    (folder / "came_late.py").write_text("def double(x):\n    return 2 * x\n")
    sys.path.insert(0, str(folder))
    try:
        import came_late  # type: ignore[import-not-found]

        with distributed.Client(cluster) as client:
            client.wait_for_workers(2, timeout=60)
            client.run_on_scheduler(lambda folder: __import__("sys").path.insert(0, folder), str(folder))
            with pytest.raises(distributed.KilledWorker):
                sys.path.remove(str(folder))  # workers on this machine would look there
                client.submit(came_late.double, 2).result(timeout=60)
            text = ""

            def told() -> bool:
                nonlocal text
                text = cluster.get_logs(scheduler=False, workers=False)["Cluster"]
                return "No module named 'came_late'" in text

            eventually(told)
            assert "client.upload_file()" in text
            client.wait_for_workers(2, timeout=60)
            client.upload_file(str(folder / "came_late.py"))
            assert client.submit(came_late.double, 3).result(timeout=60) == 6
    finally:
        sys.modules.pop("came_late", None)


@pytest.mark.slow
def test_adaptive_of_ones_own(make: Make) -> None:
    from distributed.deploy import Adaptive

    class Fixed(Adaptive):
        async def target(self) -> int:
            return 1

    cluster = make(workers=2)
    cluster.wait_for_workers(2, timeout=60)
    cluster.adapt(Adaptive=Fixed, interval="50ms", minimum=0, maximum=5)
    eventually(lambda: len(names(cluster)) == 1 and len(cluster.workers) == 1, timeout=30)
    time.sleep(0.5)
    assert len(cluster.workers) == 1


def test_scaling_from_an_event_loop(mesos: Any) -> None:
    async def main() -> None:
        async with mesos.MesosCluster(asynchronous=True, **SMALL) as cluster:
            cluster.scale(2)
            await cluster
            assert len(cluster.requested) == 2
            await cluster.scale_down(["0"])
            assert set(cluster.workers) == {"1"}

    asyncio.run(main())


def test_threads_and_memory_as_numbers_of_workers() -> None:
    kept = Settings(cpu=2.0, ram_mega_bytes=1024.0)
    assert (kept.at_least(3, None, None), kept.at_most(math.inf, None, None)) == (3, math.inf)
    assert (kept.at_least(None, 3, None), kept.at_least(1, 4, "2.5 GiB")) == (2, 3)
    assert (kept.at_most(math.inf, 3, None), kept.at_most(9, 40, "2.5 GiB"), kept.at_most(1, 40, None)) == (
        1,
        2,
        1,
    )
