"""Workers that find and wait for each other, in real jobs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import eventually, sessions_of


def test_workers_find_each_other(t2: Any) -> None:
    def where(env: Any) -> Any:
        controller = env.worker_controller
        workers = controller.get_all_workers(timeout=30)
        mine = controller.get_worker_info()
        assert workers[env.worker_id] == mine == controller.get_worker_info_for_id(env.worker_id)
        assert mine.port == env.additional_ports[0]
        assert controller.get_number_of_workers() == len(controller.get_joined_workers())
        return [
            (one.worker_id, one.ip, one.port, one.node, one.compute_resource.cpu, one.restart_count)
            for one in workers
        ]

    job = t2.submit(where, workers=3, cpu=0.5, ram_mega_bytes=64, ports=1)
    seen = job.results(timeout=60)
    assert seen[0] == seen[1] == seen[2]
    assert [one[0] for one in seen[0]] == [0, 1, 2]
    assert {one[1] for one in seen[0]} == {"127.0.0.1"}
    assert len({one[2] for one in seen[0]}) == 3, "each has a port of its own"
    assert job.tasks.ports.tolist() == [f"{one[3]}:{one[2]}" for one in seen[0]]
    assert {one[4:] for one in seen[0]} == {(0.5, 0)}


def test_they_talk_over_the_addresses_that_they_find(t2: Any) -> None:
    def relay(env: Any) -> int:
        import socket

        server = socket.create_server(("0.0.0.0", env.additional_ports[0]))
        workers = env.worker_controller.get_all_workers(timeout=30)
        env.worker_controller.wait_on_barrier(30)
        right = workers[(env.worker_id + 1) % len(workers)]
        with socket.create_connection((right.ip, right.port), timeout=10) as out:
            out.sendall(bytes([env.worker_id]))
        with server, server.accept()[0] as come:
            return come.recv(1)[0]

    assert t2.submit(relay, workers=4, cpu=0.5, ram=64, ports=1).results(60) == [3, 0, 1, 2]


def test_a_barrier_holds_until_the_last_one_is_there(t2: Any) -> None:
    def meet(env: Any) -> list[float]:
        import time

        times = []
        for number in range(20):
            if env.worker_id == number % env.number_of_workers:
                time.sleep(0.02)
            times.append(time.monotonic())
            env.worker_controller.wait_on_barrier(timeout=30)
            times.append(time.monotonic())
        return times

    times = t2.submit(meet, workers=3, cpu=0.5, ram=64).results(60)
    for number in range(20):
        assert min(one[2 * number + 1] for one in times) >= max(one[2 * number] for one in times)


def test_a_barrier_that_not_all_come_to(t2: Any) -> None:
    def meet(env: Any) -> str:
        import time

        import t2notebook as t2

        env.worker_controller.get_all_workers(60)
        if env.worker_id == 1:
            told = env.messages(timeout=60)
            assert {next(told), next(told)} == {0, 2}
            env.send(0, "go")
            env.send(2, "go")
            return "slept"
        try:
            env.worker_controller.wait_on_barrier(timeout=0.3)
        except TimeoutError as error:
            assert isinstance(error, t2.BarrierTimeout)
            first = str(error)
        env.send(1, env.worker_id)
        assert next(env.messages(timeout=60)) == "go"
        begun = time.monotonic()
        try:
            env.worker_controller.wait_on_barrier(timeout=60)
        except TimeoutError as error:
            assert time.monotonic() - begun < 30, "it is told at once that one never comes"
            return f"{first} | {error}"
        return "passed"

    told = t2.submit(meet, workers=3, cpu=0.5, ram=64).results(60)
    assert told[1] == "slept"
    for one in (told[0], told[2]):
        first, second = one.split(" | ")
        assert "missing: worker 1 (runs)" in first and "of 3 workers came in time" in first
        assert "worker 1 (has finished), and will never come" in second


def test_a_worker_that_crashes_breaks_the_barrier_and_the_init_barrier_mends_it(
    t2: Any, tmp_path: Path
) -> None:
    marker = str(tmp_path / "crashed")

    def work(env: Any) -> Any:
        import os
        import time

        import t2notebook as t2

        told = []
        while True:
            env.worker_controller.wait_on_init_barrier(timeout=60)
            try:
                if env.worker_id == 2 and not os.path.exists(marker):
                    open(marker, "w").close()
                    time.sleep(0.3)
                    os.kill(os.getpid(), 9)
                env.worker_controller.wait_on_barrier(timeout=60)
                env.worker_controller.wait_on_barrier(timeout=60)
                return (
                    told,
                    env.restart_count,
                    [one.restart_count for one in env.worker_controller.get_joined_workers()],
                )
            except t2.JobFaulty as error:
                told.append(str(error))

    results = t2.submit(work, workers=3, cpu=0.5, ram=64).results(60)
    assert [result[1] for result in results] == [0, 0, 1]
    assert results[2][0] == [] and results[2][2] == [0, 0, 1]
    for told, _, _ in results[:2]:
        assert told == ["the barrier was not passed: worker 2 failed and is started again"]


def test_a_process_that_a_worker_forks_cannot_use_its_channel_and_harms_nothing(t2: Any) -> None:
    def work(env: Any) -> Any:
        import os

        controller = env.worker_controller
        controller.wait_on_barrier(30)
        out, into = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                controller.get_joined_workers()
            except Exception as error:
                os.write(into, str(error).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        controller.wait_on_barrier(30)
        return os.read(out, 1000).decode()

    for told in t2.submit(work, workers=2, cpu=0.5, ram=64).results(60):
        assert "forked" in told


def test_many_threads_of_a_worker_ask_at_once(t2: Any) -> None:
    def work(env: Any) -> int:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: len(env.worker_controller.get_joined_workers()), range(200)))
        return len(found)

    assert t2.submit(work, workers=1, cpu=0.5, ram=64).results(60) == [200]


@pytest.mark.parametrize("times", [1, 3])
def test_a_session_that_is_killed_in_the_middle_of_a_barrier(
    t2: Any, home: Path, tmp_path: Path, times: int
) -> None:
    gate = str(tmp_path / "gate")

    def meet(env: Any) -> list[int]:
        import os
        import time

        passed = []
        for number in range(6):
            if env.worker_id == 0 and number == 2:
                while not os.path.exists(gate):
                    time.sleep(0.02)
            env.worker_controller.wait_on_barrier(timeout=120)
            passed.append(number)
        return passed

    job = t2.submit(meet, workers=4, cpu=0.5, ram=64)
    eventually(lambda: job.state.value == "STARTED")
    for _ in range(times):
        eventually(lambda: sessions_of(home))
        import time

        time.sleep(0.5)
        for pid in sessions_of(home):
            os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    Path(gate).touch()
    assert job.results(timeout=90) == [[0, 1, 2, 3, 4, 5]] * 4
    assert not job.tasks.restarts.any()


def test_all_begin_anew_together_when_the_job_says_so(t2: Any, tmp_path: Path) -> None:
    marker = str(tmp_path / "crashed")

    def work(env: Any) -> tuple[int, list[int]]:
        import os
        import time

        begun = env.checkpoint.init_variable("step", 0)
        for step in range(begun, 6):
            env.worker_controller.wait_on_barrier(60)
            if step == 3 and env.worker_id == 1 and not os.path.exists(marker):
                open(marker, "w").close()
                os.kill(os.getpid(), 9)
            env.checkpoint.update_variable("step", step + 1)
            env.checkpoint.commit()
        if env.worker_id == 0:
            time.sleep(0.1)
        return begun, env.restart_count

    job = t2.submit(
        work, workers=3, cpu=0.5, ram=64, max_reexecutes=2, persistent_volume=str(tmp_path / "volume")
    )
    assert job.results(90) == [(3, 0), (3, 1), (3, 0)]


def test_a_worker_that_returned_begins_anew_with_the_others(t2: Any, tmp_path: Path) -> None:
    def work(env: Any) -> int:
        import os
        import time

        place = f"{env.config['folder']}/{env.worker_id}"
        count = len(
            [name for name in os.listdir(env.config["folder"]) if name.startswith(f"{env.worker_id}-")]
        )
        open(f"{place}-{count}", "w").close()
        if env.worker_id == 1 and count == 0:
            time.sleep(0.5)
            os.kill(os.getpid(), 9)
        return count

    job = t2.submit(work, workers=2, cpu=0.5, ram=64, max_reexecutes=1, config={"folder": str(tmp_path)})
    assert job.results(60) == [1, 1]
    with pytest.raises(t2.SubmitError, match="max_reexecutes"):
        t2.submit(work, max_reexecutes=-1)
