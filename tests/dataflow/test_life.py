"""Remains of a cluster when it is closed, when its kernel dies, and when its scheduler does."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from t2notebook.dataflow import scheduler_process
from t2notebook.dataflow.members import Members
from t2notebook.dataflow.requirements import DataflowError
from t2notebook.model.process import start_time
from tests.dataflow.conftest import SMALL, eventually, fork_servers, kernel, schedulers
from tests.dataflow.functions import compute, hold_the_interpreter, square

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

Make = Callable[..., Any]

KERNEL = """
    import logging, sys, time
    logging.getLogger("distributed").setLevel(logging.ERROR)
    import t2notebook as t2
    from distributed import Client
    from tests.dataflow.functions import square

    if __name__ == "__main__":
        cluster = t2.MesosCluster(
            workers=2, cpu=0.5, ram_mega_bytes=256, dashboard_address=None, name={name!r}, on_exit={on_exit!r}
        )
        client = Client(cluster)
        client.wait_for_workers(2, timeout=60)
        client.publish_dataset(squares=client.map(square, range(5)))
        print(",".join(job.job_id for job in cluster.jobs), flush=True)
        {then}
"""


def start(name: str, on_exit: str = "kill", then: str = "time.sleep(600)", **environment: str) -> Any:
    process = kernel(KERNEL.format(name=name, on_exit=on_exit, then=then), **environment)
    job_id = process.stdout.readline().strip()
    assert job_id
    return process, job_id


def finish(process: Any) -> None:
    process.wait(timeout=60)
    process.stdout.close()


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """End what a test that failed has left detached: it would run for ever."""
    yield
    for pid in schedulers():
        os.kill(pid, signal.SIGTERM)


def left_behind() -> list[Path]:
    runtime = Path(os.environ["JUPYTER_RUNTIME_DIR"]) / "t2notebook"
    data = Path(os.environ["JUPYTER_DATA_DIR"]) / "t2notebook" / "dask"
    return [*runtime.glob("dask-*"), *data.glob("*.log")]


def test_closing_leaves_nothing(make: Make) -> None:
    cluster = make(workers=2)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        pids = list(client.run(os.getpid).values())
    assert len(left_behind()) == 2 and len(schedulers()) == 1
    cluster.close()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert left_behind() == [] and schedulers() == []
    assert [job.state.value for job in cluster.jobs] == ["COMPLETED"]
    logs = cluster.get_logs()
    assert len(logs) == 3 and "Cluster" in logs, "those of its workers are there yet"
    with pytest.raises(DataflowError, match="is closed"):
        cluster.adapt(maximum=2)


def test_closing_while_tasks_compute_gives_them_a_moment(make: Make, tmp_path: Path) -> None:
    cluster = make(workers=2)
    short, long = tmp_path / "short", tmp_path / "long"
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        futures = [client.submit(compute, str(short), 1.0), client.submit(compute, str(long), 600)]
        eventually(lambda: short.exists() and long.exists())
        cluster.close()
        assert len(futures) == 2
    assert short.read_text() == "began\nended\n" and long.read_text() == "began\n"
    assert [job.state.value for job in cluster.jobs] == ["COMPLETED"], "its workers end by themselves"


@pytest.mark.slow
def test_closing_ends_a_task_that_lets_nothing_else_run(make: Make) -> None:
    import time

    cluster = make(workers=1)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(1, timeout=60)
        future = client.submit(hold_the_interpreter)
        eventually(lambda: any(client.processing().values()))
        time.sleep(0.5)  # no sign of life is to be had of it
        cluster.close()
        assert future.status != "finished"
    job = cluster.jobs[0]
    assert job.state.value == "KILLED"
    times = job.events.set_index("state").time
    assert (times["KILLED"] - times["KILLING"]).total_seconds() < 2.5, "less than a kill's own three seconds"


@pytest.mark.slow
def test_closing_while_workers_wait_and_compute(make: Make) -> None:
    import time

    cluster = make(workers=30)
    client = distributed.Client(cluster)
    client.wait_for_workers(1, timeout=60)
    futures = client.map(time.sleep, [60] * 20, pure=False)
    cluster.close()
    assert all(job.state.is_final for job in cluster.jobs)
    assert len(futures) == 20
    client.close()


@pytest.mark.slow
@pytest.mark.parametrize("by", ["its client", "another client"])
def test_a_client_that_shuts_everything_down_leaves_nothing(make: Make, by: str) -> None:
    cluster = make(workers=1)
    target = cluster if by == "its client" else cluster.scheduler_address
    client = distributed.Client(target, security=cluster.security)
    client.wait_for_workers(1, timeout=60)
    client.shutdown()
    eventually(lambda: cluster.status.name == "closed" and not schedulers(), timeout=30)
    eventually(lambda: cluster.jobs[0].state.is_final)
    for path in left_behind():
        path.unlink()


def test_a_kernel_that_is_killed_leaves_nothing_after_a_grace_time(t2: Any) -> None:
    process, job_id = start("killed")
    assert len(schedulers()) == 1
    process.send_signal(signal.SIGKILL)
    finish(process)
    eventually(lambda: not schedulers() and not left_behind()[:-1], timeout=30)
    job = t2.attach(job_id)
    eventually(lambda: job.state.is_final, timeout=30)
    for path in left_behind():
        path.unlink()  # what a scheduler has said stays for who looks for it


@pytest.mark.slow
def test_a_child_that_a_killed_kernel_has_forked_keeps_no_cluster(t2: Any) -> None:
    """As `multiprocessing` makes them, which outlive a kernel that is killed."""
    then = "child = __import__('os').fork(); print(child, flush=True) if child else None; time.sleep(600)"
    process, _ = start("forked", then=then)
    child = int(process.stdout.readline())
    try:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        eventually(lambda: not schedulers(), timeout=30)
        assert Path(f"/proc/{child}").exists()
    finally:
        os.kill(child, signal.SIGKILL)
    process.stdout.close()
    for path in left_behind():
        path.unlink()


@pytest.mark.slow
def test_a_child_that_ends_before_its_kernel_leaves_the_cluster_alone(t2: Any) -> None:
    process = kernel(
        """
        import os, sys, time
        import t2notebook as t2

        cluster = t2.MesosCluster(cpu=0.5, ram_mega_bytes=256, dashboard_address=None)
        if not (child := os.fork()):
            sys.exit()
        os.waitpid(child, 0)
        print("it has ended", flush=True)
        time.sleep(600)
        """
    )
    assert process.stdout.readline() == "it has ended\n"
    assert len(schedulers()) == 1
    process.kill()
    finish(process)
    eventually(lambda: not schedulers(), timeout=30)
    for path in left_behind():
        path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("then", ["its process is made", "it is waited for"])
def test_an_interrupted_start_leaves_nothing(t2: Any, then: str) -> None:
    """Also of a job that waits for its turn, which nobody would know of."""
    process = kernel(
        f"""
        import asyncio, os, signal, threading, time
        import t2notebook as t2
        from t2notebook.dataflow import scheduler_link, scheduler_process

        start, listening = scheduler_process.start, scheduler_link.SchedulerLink.listening

        def interrupt_in(seconds):
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()

        def slowly(*arguments):
            interrupt_in(0.5)
            threading.Event().wait(1.5)
            return start(*arguments)

        async def late(link):
            while not len(t2.jobs()):
                await asyncio.sleep(0.05)
            interrupt_in(0.1)
            await asyncio.sleep(60)

        if {then!r} == "its process is made":
            scheduler_process.start = slowly
        else:
            scheduler_link.SchedulerLink.listening = late
        try:
            t2.MesosCluster(workers=2, cpu=0.5, ram_mega_bytes=10_000_000, dashboard_address=None)
        except KeyboardInterrupt:
            print("interrupted", *t2.jobs().state, flush=True)
            time.sleep(600)
        """
    )
    try:
        told = process.stdout.readline().split()
        # Before there is a process, nothing is submitted.
        assert told == ["interrupted", *(["KILLED"] if then == "it is waited for" else [])]
        assert not schedulers() and not left_behind()
    finally:
        process.kill()
        finish(process)


def test_a_kernel_that_ends_in_good_order_takes_its_cluster_along(t2: Any) -> None:
    process, job_id = start("tidy", then="pass")
    finish(process)
    assert process.returncode == 0
    eventually(lambda: not schedulers() and not left_behind())
    assert t2.attach(job_id).state.value == "COMPLETED"


def refuse(state: Any) -> Any:
    raise RuntimeError("not now")


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_a_detached_cluster_outlives_its_kernel_and_is_had_again(t2: Any, end: str) -> None:
    name = f"lasting-{end}"
    process, job_id = start(name, on_exit="detach", then="pass" if end == "exit" else "time.sleep(600)")
    if end == "kill":
        process.send_signal(signal.SIGKILL)
    finish(process)
    assert len(schedulers()) == 1
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="not now"):
        patch.setattr(Members, "restore", refuse)
        t2.MesosCluster.attach(name)  # which leaves it as it was
    cluster = t2.MesosCluster.attach(name)
    try:
        assert cluster.plan == cluster.observed == {"0", "1"}
        assert [job.job_id for job in cluster.jobs] == [job_id]
        with distributed.Client(cluster) as client:
            assert client.gather(client.get_dataset("squares")) == [square(number) for number in range(5)]
            cluster.scale(3)
            client.wait_for_workers(3, timeout=60)
            cluster.scale(1)
            eventually(lambda: len(cluster.observed) == 1)
            assert client.gather(client.get_dataset("squares")) == [square(number) for number in range(5)]
    finally:
        cluster.close()
    eventually(lambda: not schedulers() and not left_behind())
    assert all(job.state.is_final for job in cluster.jobs)


@pytest.mark.parametrize("on_exit", ["kill", pytest.param("detach", marks=pytest.mark.slow)])
def test_shutting_everything_down_ends_clusters(t2: Any, make: Make, on_exit: str) -> None:
    cluster = make(workers=1, on_exit=on_exit)
    cluster.wait_for_workers(1, timeout=60)
    t2.shutdown()
    assert cluster.status.name == "closed" and [job.state.is_final for job in cluster.jobs] == [True]
    assert not schedulers() and not left_behind()
    eventually(lambda: not fork_servers())


@pytest.mark.slow
def test_shutting_everything_down_from_an_event_loop(t2: Any) -> None:
    async def main() -> None:
        cluster = await t2.MesosCluster(workers=1, asynchronous=True, **SMALL)
        t2.shutdown()
        assert not schedulers() and [job.state.is_final for job in cluster.jobs] == [True]
        await cluster.close()
        assert cluster.status.name == "closed" and len(cluster.jobs) == 1

    asyncio.run(main())


def parent(cluster: Any) -> int:
    """Return the pid of the process that has made a cluster's scheduler."""
    return int(Path(f"/proc/{cluster._scheduler.pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_schedulers_are_forked_from_a_process_that_has_imported_dask(make: Make) -> None:
    first, second = make(), make()
    assert parent(first) == parent(second) != os.getpid()
    assert parent(first) in fork_servers()


@pytest.mark.slow
def test_a_process_that_schedulers_are_forked_from_may_be_another_and_may_die(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler_process.close_fork_server()
    first = make()
    server = parent(first)
    with dask.config.set({"distributed.scheduler.allowed-failures": 7}):
        second = make()
    assert parent(second) != server, "much of the settings is read when a module is imported"
    with distributed.Client(second) as client:
        assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures) == 7
    os.kill(parent(second), signal.SIGKILL)
    with distributed.Client(second) as client:
        assert client.run_on_scheduler(os.getpid) == second._scheduler.pid, (
            "it outlives what it was forked from"
        )
    second.close()
    assert not start_time(second._scheduler.pid)
    assert parent(make()) in fork_servers()
    scheduler_process.close_fork_server()
    monkeypatch.setenv("T2_EXECUTOR_LINGER", "0")
    assert parent(make()) == os.getpid(), "nothing is kept warm"
    eventually(lambda: not fork_servers())


@pytest.mark.slow
def test_no_fork_beside_a_thread(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hang, sooner or later: where a library starts one, each scheduler is a program of its own."""
    text = "import threading\nroutes = []\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    (tmp_path / "serves_pages.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with dask.config.set({"distributed.scheduler.http.routes": ["serves_pages"]}):
        cluster = make(workers=1)
    assert parent(cluster) == os.getpid()
    with distributed.Client(cluster) as client:
        assert client.submit(square, 3).result(timeout=60) == 9


def test_attaching_to_what_is_not_there_and_to_what_another_has(t2: Any, make: Make) -> None:
    with pytest.raises(DataflowError, match="there is no Dask cluster called 'nowhere', nor any other"):
        t2.MesosCluster.attach("nowhere")
    make(name="mine")
    with pytest.raises(DataflowError, match="there is no Dask cluster called 'nowhere'; there are mine"):
        t2.MesosCluster.attach("nowhere")
    with pytest.raises(
        DataflowError, match=rf"in the hands of process {os.getpid()}; use it .*Client\('tls://"
    ):
        t2.MesosCluster.attach("mine")


def test_the_end_of_the_dask_scheduler_is_told(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    cluster = make(workers=1)
    cluster.wait_for_workers(1, timeout=60)
    (pid,) = schedulers()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: cluster.status.name == "closed", timeout=30)
    assert "was killed by signal 9; its tasks and their data are lost" in caplog.text
    eventually(lambda: cluster.jobs[0].state.is_final)
    with pytest.raises(DataflowError, match="is closed"):
        cluster.scale(2)
    for path in left_behind():
        path.unlink()


def test_a_worker_without_a_scheduler_ends(t2: Any) -> None:
    """As that of a kernel which was killed before its Dask scheduler had come to listen."""
    from t2notebook.dataflow.settings import Settings
    from t2notebook.dataflow.worker_jobs import WorkerJobs

    kept = Settings(cpu=0.5, ram_mega_bytes=256, worker_options={"death_timeout": 0.5})
    job = WorkerJobs("alone", lambda job: None).submit(["0"], kept, "tcp://127.0.0.1:1", None)
    (result,) = job.results(timeout=60)
    assert result.startswith("there is no Dask scheduler at tcp://127.0.0.1:1 any more")


def test_sockets_of_dead_schedulers_are_removed_by_who_looks(t2: Any) -> None:
    import socket

    from t2notebook.config import runtime_dir
    from t2notebook.dataflow import scheduler_link

    path = runtime_dir() / "dask-000000000000.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert list(scheduler_link.living()) == []
    assert not path.exists()


def test_logs_of_dead_schedulers_are_removed_after_a_week(t2: Any) -> None:
    from t2notebook.config import runtime_dir
    from t2notebook.dataflow import scheduler_link

    paths = {
        name: scheduler_link.log_path(runtime_dir() / f"dask-{name}.sock") for name in ("old", "new", "quiet")
    }
    paths["new"].parent.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        path.touch()
        if name != "new":
            os.utime(path, (0, 0))
    alive = runtime_dir() / "dask-quiet.sock"
    alive.touch()
    scheduler_link.remove_old_logs()
    assert [name for name, path in paths.items() if path.exists()] == ["new", "quiet"]
    for path in (alive, paths["new"], paths["quiet"]):
        path.unlink()
