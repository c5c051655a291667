"""Jobs as a user meets them, on the embedded Mesos with real processes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from t2notebook import ComputeResource, JobFailed, JobState, SubmitError, Twister2Job
from t2notebook.protocol.launch import MOST_WITH_END
from tests.session.conftest import eventually


def test_results_come_by_worker_id(t2: Any) -> None:
    factor = 7
    job = t2.submit(lambda env: env.worker_id * factor, workers=4, cpu=1, ram_mega_bytes=64)
    assert job.results(timeout=30) == [0, 7, 14, 21]
    assert job.wait() is JobState.COMPLETED
    assert job.state is JobState.COMPLETED
    assert job.result(2) == 14


def test_a_job_of_different_workers(t2: Any) -> None:
    def who(env: Any) -> tuple[int, int, dict[str, Any], str]:
        return env.worker_id, env.number_of_workers, env.config, env.job_id

    small = ComputeResource(cpu=0.5, ram_mega_bytes=64, instances=2, workers_per_executor=1)
    large = ComputeResource(cpu=1, ram_mega_bytes=128, instances=1)
    job = t2.submit(Twister2Job("who", who, [small, large], {"step": 3}))
    assert job.results(timeout=30) == [(worker, 3, {"step": 3}, job.job_id) for worker in range(3)]
    assert job.tasks.cpus.tolist() == [0.5, 0.5, 1.0]
    executors = {worker.executor_id for worker in job.view().workers[:2]}
    assert len(executors) == 2, "one worker an executor was asked for"


@pytest.mark.parametrize("workers_per_executor", ["max", 1])
def test_the_default_cluster_holds_as_many_workers_as_it_has_cpus(t2: Any, workers_per_executor: Any) -> None:
    def who(env: Any) -> int:
        return int(env.worker_id)

    job = t2.submit(who, workers=8, ram=512, workers_per_executor=workers_per_executor, gang=True)
    assert job.results(timeout=60) == list(range(8))


def test_tables_have_their_types(t2: Any) -> None:
    before = pd.Timestamp.now(tz="UTC") - pd.Timedelta(seconds=1)
    job = t2.submit(lambda env: None, workers=2, ram_mega_bytes=64)
    job.results(timeout=30)
    tasks, events = job.tasks, job.events
    assert {
        "worker_id",
        "task_id",
        "state",
        "agent",
        "host",
        "cpus",
        "mem",
        "started",
        "finished",
        "restarts",
    } <= {*tasks.columns}
    assert {"progress", "exit_code", "reason", "message"} <= {*tasks.columns}
    assert str(tasks.started.dtype.tz) == str(events.time.dtype.tz) == "UTC"
    assert isinstance(tasks.state.dtype, pd.CategoricalDtype)
    assert tasks.state.tolist() == ["FINISHED", "FINISHED"]
    assert tasks.exit_code.tolist() == [0, 0]
    assert (tasks.started >= before).all()
    assert (tasks.finished >= tasks.started).all()
    assert events.time.is_monotonic_increasing
    assert {"SUBMITTED", "LAUNCHED", "STATUS", "RESULT"} == {*events.kind}
    assert t2.jobs().set_index("job_id").loc[job.job_id, "state"] == "COMPLETED"


def test_a_failure_shows_the_workers_own_lines(t2: Any) -> None:
    def divide(env: Any) -> float:
        print("about to divide")
        return 1 / (env.worker_id - 1)

    job = t2.submit(divide, workers=2, ram_mega_bytes=64)
    assert job.wait(timeout=30) is JobState.FAILED
    with pytest.raises(JobFailed) as caught:
        job.results()
    assert caught.value.worker_id == 1
    assert "return 1 / (env.worker_id - 1)" in caught.value.remote_traceback
    assert "ZeroDivisionError: division by zero" in caught.value.remote_traceback
    assert "t2notebook" not in caught.value.remote_traceback.replace(__file__, "")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    row = job.tasks.set_index("worker_id").loc[1]
    assert (row.state, row.exit_code, row.message) == ("FAILED", 1, "ZeroDivisionError: division by zero")
    assert job.logs(1) == "about to divide\n"


def test_with_keep_going_the_others_have_their_results(t2: Any) -> None:
    class Odd(Exception):
        def __init__(self, number: int) -> None:
            super().__init__(number)
            self.number = number

    def refuse_odd(env: Any) -> int:
        import time

        if env.worker_id % 2:
            raise Odd(env.worker_id)
        time.sleep(0.5)
        return env.worker_id

    job = t2.submit(refuse_odd, workers=4, cpus=0.5, ram="64MB", keep_going=True)
    with pytest.raises(Odd):
        job.result(3, timeout=30)
    results = job.results(return_exceptions=True, timeout=30)
    assert job.state is JobState.FAILED
    assert results[::2] == [0, 2]
    for worker_id in (1, 3):
        error = results[worker_id]
        assert isinstance(error, JobFailed)
        assert isinstance(error, Odd), "the class is the notebook's own"
        assert (error.worker_id, error.number) == (worker_id, worker_id)
        assert f"Odd: {worker_id}" in error.remote_traceback
        assert error.headline.startswith(f"job {job.job_id} failed: worker {worker_id} on ")
    assert "2 of 4 workers failed; the first: worker " in repr(job)
    assert job.result(2) == 2
    assert job.error(2) is None
    with pytest.raises(Odd):
        job.results()
    assert [job.tasks.cpus.sum(), job.tasks.mem.sum()] == [2.0, 256.0]


def test_without_it_the_others_say_who_ended_them(t2: Any) -> None:
    def work(env: Any) -> int:
        import time

        if env.worker_id == 1:
            return 1 // 0
        time.sleep(60)
        return 0

    job = t2.submit(work, workers=2, ram=64)
    first, second = job.results(return_exceptions=True, timeout=30)
    assert str(first) == f"job {job.job_id} failed: worker 0 was killed because worker 1 failed"
    assert not isinstance(first, ZeroDivisionError)
    assert isinstance(second, ZeroDivisionError)


def test_output_of_all_workers_and_the_end_of_it(t2: Any) -> None:
    def count(env: Any) -> None:
        for number in range(2000):
            print(f"line {number} of {env.worker_id}")
        print("the end", end="")

    job = t2.submit(count, workers=3, cpu=0.5, ram=64)
    job.results(timeout=30)
    assert job.logs(1, tail=2) == "line 1999 of 1\nthe end"
    assert job.logs(tail=1) == "0 | the end\n1 | the end\n2 | the end\n"
    assert job.logs().splitlines()[2001:2003] == ["1 | line 0 of 1", "1 | line 1 of 1"]
    assert len(list("".join(job.logs(follow=True)).splitlines())) == 3 * 2001
    assert job.logs(stream="stderr") == ""
    with pytest.raises(t2.Twister2Error, match=r"^tail is -1; give a whole number of lines from 0$"):
        job.logs(tail=-1)


def test_jobs_are_found_by_name_and_replaced(t2: Any) -> None:
    def wait(env: Any) -> None:
        import time

        time.sleep(60)

    first = t2.submit(wait, name="two of a name", ram=64)
    second = t2.submit(wait, name="two of a name", ram=64)
    assert t2.attach("two of a name").job_id == second.job_id, "the newest"
    third = t2.submit(lambda env: 3, name="two of a name", ram=64, replace=True)
    assert {first.state, second.state} == {JobState.KILLED}
    assert first.view().message == "replaced by the next job called two of a name"
    with pytest.raises(SubmitError, match=r"^replace is 'first'; give True, or a list of jobs$"):
        t2.submit(lambda env: 3, replace="first")
    with pytest.raises(t2.Twister2Error, match=r"^timeout is '1'; give seconds"):
        third.results(timeout="1")
    assert third.results(timeout=30) == [3]
    with pytest.raises(t2.UnknownJob, match="no job 'three of a name'"):
        t2.attach("three of a name")


def test_a_worker_that_submits_is_told_that_it_cannot(t2: Any) -> None:
    def submit_there() -> None:
        import t2notebook

        t2notebook.submit(print)

    def import_it() -> None:
        from t2notebook.client.submission import submit  # noqa: F401

    for function in (submit_there, import_it):
        job = t2.submit(function, ram=64)
        job.wait(30)
        error = job.error()
        assert "is for the notebook: a worker cannot submit jobs" in str(error)
        assert "another version" not in str(error)


def test_no_such_worker_and_no_end_in_time_are_one_line(t2: Any) -> None:
    job = t2.submit(lambda: __import__("time").sleep(30), ram=64)
    with pytest.raises(TimeoutError) as late:
        job.results(timeout=0.1)
    with pytest.raises(IndexError) as unknown:
        job.logs(1)
    assert isinstance(late.value, t2.Twister2Error)
    assert isinstance(unknown.value, t2.Twister2Error)
    assert str(unknown.value) == f"job {job.job_id} has only worker 0, not 1"
    for act in (job.result, job.logs, lambda worker_id: job.send(worker_id, 1)):
        for wrong in ("a", 0.0, True):
            with pytest.raises(IndexError, match=f"a worker's id is a whole number, not {wrong!r}"):
                act(wrong)
    job.kill()


def test_an_awaited_job_that_is_cancelled_goes_on(t2: Any) -> None:
    job = t2.submit(lambda: __import__("time").sleep(30), ram=64)

    async def wait() -> None:
        await asyncio.wait_for(job, 1.2)

    with pytest.raises(TimeoutError):
        asyncio.run(wait())

    async def cancel() -> None:
        task = asyncio.ensure_future(job)
        await asyncio.sleep(0.1)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError, match=f"job {job.job_id} goes on"):
        asyncio.run(cancel())
    assert not job.state.is_final
    job.kill()


def test_the_command_line_takes_names_and_shows_all_output(
    t2: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from t2notebook.cli import main

    t2.submit(lambda env: print("by", env.worker_id), workers=2, ram=64, name="cli").results(timeout=30)
    assert main(["logs", "cli", "--tail", "1"]) == 0
    assert capsys.readouterr().out == "0 | by 0\n1 | by 1\n"
    assert main(["logs", "cli", "7"]) == 1
    assert capsys.readouterr().err.endswith("has workers 0 to 1, not 7\n")
    jobs = [t2.submit(lambda: __import__("time").sleep(60), ram=64, name="twins") for _ in range(2)]
    assert main(["kill", "twins"]) == 1
    assert "2 unfinished jobs are called 'twins': " in capsys.readouterr().err
    jobs[1].kill()
    jobs[1].wait(30)
    assert main(["kill", "twins"]) == 0
    assert capsys.readouterr().out == f"{jobs[0].job_id} KILLED\n"


def test_a_worker_that_was_killed_says_by_what(t2: Any) -> None:
    def die(env: Any) -> None:
        import os
        import signal
        import sys

        print("last words", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)

    job = t2.submit(die, ram_mega_bytes=64, max_worker_restarts=1)
    assert job.wait(timeout=30) is JobState.FAILED
    failure = job.error()
    assert "killed by signal 9 (SIGKILL)" in str(failure)
    assert "last words" in str(failure)
    assert job.tasks.exit_code.tolist() == [-9]


def test_an_unpicklable_result_is_named(t2: Any) -> None:
    def lock(env: Any) -> Any:
        import threading

        return {"lock": threading.Lock()}

    job = t2.submit(lock, ram_mega_bytes=64)
    with pytest.raises(JobFailed, match=r"dict value \['lock'\] is a _thread.lock"):
        job.results(timeout=30)


def test_more_than_there_is_waits_and_says_why(t2: Any) -> None:
    job = t2.submit(lambda env: None, workers=1, cpu=64, ram_mega_bytes=64)
    deadline = time.monotonic() + 5
    while not job.view().waiting_for and time.monotonic() < deadline:
        time.sleep(0.02)
    assert job.state is JobState.PENDING
    assert "cpus free, 64." in job.view().waiting_for
    why = job.why
    assert set(why.lacked) == {"cpus"}
    assert (why.offered < why.asked).all()
    with pytest.raises(TimeoutError, match=r"is PENDING after 0\.1 s; it goes on"):
        job.wait(timeout=0.1)
    job.kill()
    assert job.wait(timeout=10) is JobState.KILLED
    with pytest.raises(JobFailed, match="killed by the user"):
        job.results()


def test_what_waits_starts_when_something_ends(t2: Any) -> None:
    def nap(env: Any) -> int:
        import time

        time.sleep(0.3)
        return int(env.worker_id)

    job = t2.submit(nap, workers=12, cpu=1, ram_mega_bytes=64)
    assert job.results(timeout=30) == list(range(12))


def test_a_job_that_cannot_start_keeps_nobody_waiting(t2: Any) -> None:
    big = t2.submit(lambda env: None, cpu=64, ram_mega_bytes=64)
    assert t2.submit(lambda env: 1, ram_mega_bytes=64).results(timeout=20) == [1]
    big.kill()
    assert big.wait(timeout=10) is JobState.KILLED


def test_kill_ends_workers_that_will_not(t2: Any) -> None:
    def stubborn(env: Any) -> None:
        import signal
        import time

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(100)

    job = t2.submit(stubborn, workers=2, ram_mega_bytes=64)
    deadline = time.monotonic() + 20
    while job.state is not JobState.STARTED and time.monotonic() < deadline:
        time.sleep(0.02)
    for grace in (-1, 4, True, "1", float("nan")):
        with pytest.raises(t2.Twister2Error, match="give seconds from 0 to 3"):
            job.kill(grace=grace)
    job.kill(1, grace=0.1)
    job.kill(grace=0.1)
    assert job.wait(timeout=20) is JobState.KILLED
    assert job.tasks.state.tolist() == ["KILLED", "KILLED"]
    killed = job.events[job.events.state.isin(["KILLING", "KILLED"])]
    waited = killed.groupby("worker_id").time.agg(lambda times: times.max() - times.min())
    assert (waited < pd.Timedelta(2.5, "s")).all(), "less than a kill's own three seconds"


def test_await_gives_the_results_and_blocks_no_loop(t2: Any) -> None:
    async def main() -> tuple[list[int], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())

        def nap(env: Any) -> int:
            import time

            time.sleep(0.3)
            return 1

        results = await t2.submit(nap, workers=2, ram_mega_bytes=64)
        ticking.cancel()
        return results, ticks

    results, ticks = asyncio.run(main())
    assert results == [1, 1]
    assert ticks > 2, "a blocked loop has one before and one after"


def test_progress_shows_while_a_worker_runs(t2: Any) -> None:
    def work(env: Any) -> str:
        import time

        env.progress(1, 4, "a quarter")
        time.sleep(1.0)
        return "done"

    job = t2.submit(work, ram_mega_bytes=64)
    deadline = time.monotonic() + 20
    while job.view().workers[0].progress is None and time.monotonic() < deadline:
        time.sleep(0.02)
    worker = job.view().workers[0]
    assert (worker.progress, worker.text) == (0.25, "a quarter")
    assert job.results(timeout=20) == ["done"]
    assert job.tasks.progress.tolist() == [1.0]


def test_logs_of_both_streams_and_while_it_runs(t2: Any) -> None:
    def talk(env: Any) -> None:
        import sys
        import time

        for number in range(4):
            print("line", number)
            time.sleep(0.2)
        print("ünïcode", file=sys.stderr)

    job = t2.submit(talk, ram_mega_bytes=64)
    pieces = list(job.logs(0, follow=True))
    assert "".join(pieces) == "line 0\nline 1\nline 2\nline 3\n"
    assert len(pieces) > 1
    job.wait(timeout=20)
    assert job.logs(0, "stderr") == "ünïcode\n"
    with pytest.raises(IndexError, match="has only worker 0, not 1"):
        job.logs(1)


def test_large_arrays_come_and_go_writable(t2: Any) -> None:
    data = np.arange(2_000_000, dtype=np.float64)

    def double(env: Any) -> Any:
        data[0] = 5.0  # what travels may be written to
        return data * 2

    first, second = t2.submit(double, workers=2, ram_mega_bytes=256).results(timeout=30)
    assert data[0] == 0.0
    assert first[0] == 10.0
    np.testing.assert_array_equal(first[1:], data[1:] * 2)
    second[0] = 1.0


def test_the_second_job_reuses_the_executors(t2: Any) -> None:
    def where(env: Any) -> int:
        import os

        return os.getppid()

    first = t2.submit(where, workers=6, ram_mega_bytes=64).results(timeout=30)
    second = t2.submit(where, workers=2, ram_mega_bytes=64).results(timeout=30)
    assert set(second) <= set(first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers is 0"),
        ({"workers": -2}, "workers is -2"),
        ({"cpu": 0}, "cpu is 0"),
        ({"ram_mega_bytes": -5}, "ram_mega_bytes is -5"),
        ({"on_exit": "maybe"}, "on_exit is 'maybe'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_submitted(
    t2: Any, arguments: dict[str, Any], message: str
) -> None:
    before = len(t2.jobs())
    with pytest.raises(SubmitError, match=message):
        t2.submit(lambda env: None, **arguments)
    assert len(t2.jobs()) == before


def test_a_whole_job_says_its_resources_itself(t2: Any) -> None:
    whole = Twister2Job("whole", lambda env: None)
    with pytest.raises(SubmitError, match="a Twister2Job says its workers and resources itself"):
        t2.submit(whole, workers=3)


def test_a_handle_stays_in_the_notebook(t2: Any) -> None:
    job = t2.submit(lambda env: 1, ram_mega_bytes=64)
    job.results(timeout=30)
    with pytest.raises(t2.PackageError, match="a job's handle stays in the notebook"):
        t2.submit(lambda env: job.state)


def test_secrets_show_nowhere(t2: Any, home: Any) -> None:
    import json
    import sqlite3
    import urllib.request

    from t2notebook import client

    job = t2.submit(lambda env: 1, ram_mega_bytes=64)
    job.results(timeout=30)
    (journal,) = (home / "data" / "t2notebook" / "sessions").glob("*/journal.sqlite")
    database = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    (secret,) = database.execute("SELECT secret FROM jobs WHERE job_id = ?", (job.job_id,)).fetchone()
    database.close()
    assert len(secret) == 64
    master = client.cluster_info()["master"]
    seen = [urllib.request.urlopen(f"http://{master}/state").read().decode()]
    state = json.loads(seen[0])
    for agent in state["slaves"]:
        seen.append(
            urllib.request.urlopen(f"http://{agent['hostname']}:{agent['port']}/state").read().decode()
        )
    for text in seen:
        assert secret not in text
    for path in home.rglob("*"):
        if path.is_file() and "journal.sqlite" not in path.name:
            assert secret.encode() not in path.read_bytes(), path


def test_attach_by_the_beginning_of_an_id(t2: Any) -> None:
    job = t2.submit(lambda env: 1, name="unique-name", ram_mega_bytes=64)
    job.results(timeout=30)
    same = t2.attach(job.job_id.rpartition("-")[0])
    assert same.job_id == job.job_id
    assert same.results() == [1]
    with pytest.raises(t2.UnknownJob, match="no job 'nonsense'"):
        t2.attach("nonsense")


def cut_off(env: Any) -> None:
    """Make the way back to the session fail, and the worker give up at once."""
    import http.client

    from t2notebook.worker.process import result

    def refuse(self: Any) -> None:
        raise OSError("no route to host")

    http.client.HTTPConnection.connect = refuse  # type: ignore[method-assign]
    result.PATIENCE = 0.1


def test_a_result_that_could_not_be_sent_is_fetched_from_the_sandbox(t2: Any) -> None:
    def work(env: Any) -> tuple[list[int], bytes]:
        import random

        cut_off(env)
        return [env.worker_id] * 3, random.randbytes(2 * MOST_WITH_END)

    job = t2.submit(work, workers=2, ram_mega_bytes=64)
    assert [numbers for numbers, _ in job.results(timeout=30)] == [[0, 0, 0], [1, 1, 1]]
    assert "the result is in the sandbox" in job.tasks.message[0]


def test_a_result_that_somebody_else_put_there_is_not_unpickled(t2: Any) -> None:
    def forge(env: Any) -> bytes:
        import os

        cut_off(env)
        pid = os.getpid()
        if not os.fork():  # waits for the worker's own files, and writes others in their place
            import time
            from pathlib import Path

            while os.getppid() == pid:
                if Path("result.sig").exists():
                    Path("result.t2").write_bytes(b"forged")
                time.sleep(0.001)
            os._exit(0)
        return os.urandom(2 * MOST_WITH_END)

    job = t2.submit(
        forge, ram_mega_bytes=256
    )  # this module is imported there, with all that it imports, and forked
    with pytest.raises(
        JobFailed, match="its result is lost: the result in its sandbox is not signed by the job"
    ):
        job.results(timeout=30)


def test_metrics_say_where_the_time_went(t2: Any) -> None:
    job = t2.submit(lambda env: time.sleep(0.4), workers=2, cpu=0.5, ram_mega_bytes=64)
    assert job.metrics.isna()["completion"]
    job.wait(30)
    found = job.metrics
    assert found.notna().all(), found
    assert 0.4 <= found["run"] < found["completion"]
    assert 0 < found["ramp_up"] < found["completion"]
    assert 0 < found["utilisation"] <= 1
    phases = job.phases
    assert phases.worker_id.tolist() == [0, 1]
    assert (phases.drop(columns=["worker_id", "package"]).max(axis=None)) <= found["completion"]


def test_the_tails_of_what_workers_write(t2: Any) -> None:
    def write(env: Any) -> None:
        import sys

        print(f"hello from {env.worker_id}, ünd näch", flush=True)
        sys.stderr.write("x" * 200_000 + "\nlast line\n")
        sys.stderr.flush()
        env.progress(0.49, text="about half")
        time.sleep(60)

    job = t2.submit(write, workers=2, cpu=0.5, ram_mega_bytes=64)
    eventually(lambda: [worker.progress for worker in job.view().workers] == [0.49, 0.49], 60)
    files = [
        {"worker_id": worker.worker_id, "task_id": worker.task_id, "stream": stream, "offset": 0}
        for worker in job.view().workers
        for stream in ("stdout", "stderr")
    ]
    answers = job.tails(files, 1000)
    assert [answer["text"] for answer in answers[::2]] == [f"hello from {who}, ünd näch\n" for who in (0, 1)]
    assert not answers[0]["skipped"] and answers[0]["offset"] == len(answers[0]["text"].encode())
    error = answers[1]
    assert error["skipped"] and error["offset"] == 200_011 and len(error["text"]) == 1000
    assert error["text"].endswith("x\nlast line\n")
    # what is known does not come again; from -1 on, the end does; of another task, nothing
    assert [answer["text"] for answer in job.tails(answers, 1000)] == [""] * 4
    (end,) = job.tails([{**files[1], "offset": -1}], 20)
    assert end["text"] == "xxxxxxxxx\nlast line\n"
    assert job.tails([{**files[0], "task_id": "another"}], 20) == []

    job.kill()
    assert job.wait(30) is JobState.KILLED
    assert job.tasks.progress.tolist() == [0.49, 0.49]


def test_progress_survives_for_who_attaches_later(t2: Any, home: Any) -> None:
    import subprocess
    import sys

    def work(env: Any) -> None:
        env.progress(0.49, text="about half")
        time.sleep(60)

    job = t2.submit(work, workers=1, cpu=0.5, ram_mega_bytes=64)
    eventually(lambda: job.view().progress == 0.49, 60)
    program = (
        f"import t2notebook as t2; job = t2.attach({job.job_id!r}); "
        "import time; time.sleep(0.3); view = job.view(); print(view.state, view.progress, view.workers[0].text)"
    )

    def attach() -> str:
        command = [sys.executable, "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    assert attach() == "STARTED 0.49 about half"
    job.kill()
    job.wait(30)
    assert attach() == "KILLED 0.49 about half"
