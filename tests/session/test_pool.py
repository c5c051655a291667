"""`t2.map` and `t2.Executor` on real workers."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.session.conftest import eventually, sessions_of

ASKED = {"workers": 2, "cpu": 0.5, "ram_mega_bytes": 64}


@pytest.fixture(scope="module")
def pool(t2: Any) -> Iterator[Any]:
    """An executor whose pool the tests of this module share."""
    with t2.Executor(**ASKED) as executor:
        executor.submit(abs, 1).result(60)
        yield executor


def adder(offset: int) -> Callable[[int], int]:
    def add(number: int) -> int:
        return number + offset

    return add


def test_results_come_in_the_order_of_the_items_and_as_they_end(t2: Any, pool: Any) -> None:
    futures = t2.map(adder(100), range(50), executor=pool)
    assert [future.result(30) for future in futures] == list(range(100, 150))
    assert sorted(future.result() for future in t2.as_completed(futures)) == list(range(100, 150))
    assert list(pool.map(pow, (2, 3), (4, 5))) == [16, 243]
    assert [future.result(30) for future in t2.map(pow, (2, 3), [4, 5, 6], executor=pool)] == [16, 243]
    assert t2.map(abs, [], executor=pool) == []


def test_the_same_workers_serve_whoever_asks_for_the_same(t2: Any, pool: Any) -> None:
    begun = time.perf_counter()
    assert t2.map(os.getpid.__call__.__class__, [], **ASKED) == []
    pids = {future.result(30) for future in t2.map(lambda _: os.getpid(), range(20), **ASKED)}
    assert pids <= {future.result(30) for future in t2.map(lambda _: os.getpid(), range(40), executor=pool)}
    assert time.perf_counter() - begun < 30
    jobs = t2.jobs()
    assert len(jobs[jobs["name"] == "pool"]) == 1


def test_a_function_is_called_as_it_is_now(pool: Any) -> None:
    values = {"step": 1}

    def step(number: int) -> int:
        return number + values["step"]

    assert pool.submit(step, 1).result(30) == 2
    values["step"] = 10
    assert pool.submit(step, 1).result(30) == 11


def test_arguments_are_sent_as_they_were_when_they_were_given(pool: Any) -> None:
    data = np.zeros(200_000)
    futures = []
    for number in range(6):
        data[:] = number
        futures.append(pool.submit(lambda array, time=time: (time.sleep(0.05), float(array[-1]))[1], data))
    assert [future.result(30) for future in futures] == list(range(6))


def test_large_results_and_arguments_are_arrays_of_ones_own(pool: Any) -> None:
    (result,) = pool.map(lambda array: array * 2, [np.arange(3_000_000.0)])  # 24 MB there, and back
    assert result[-1] == 2 * 2_999_999
    result[0] = 7  # it can be written to
    assert result.flags.aligned


def test_classes_of_the_notebook_travel_both_ways(pool: Any) -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    result = pool.submit(lambda point: Point(point.x + 1), Point(1)).result(30)
    assert type(result) is Point and result.x == 2


def test_modules_beside_the_notebook_travel_as_they_are_now(
    t2: Any, pool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "helper_of_a_pool.py"
    helper.write_text(
        "class Box:\n    def __init__(self, v): self.v = v\ndef double(x): return 2 * x\n"
        "class Wrong(Exception):\n    def __init__(self, a, b): super().__init__('text')\n"
        "def fail(x): raise Wrong(x, 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    import helper_of_a_pool  # type: ignore[import-not-found]

    try:
        assert pool.submit(helper_of_a_pool.double, 4).result(30) == 8
        # What only an argument needs travels as well.
        assert pool.submit(lambda box: box.v, helper_of_a_pool.Box(3)).result(30) == 3
        with pytest.raises(helper_of_a_pool.Wrong, match="in fail"):
            pool.submit(helper_of_a_pool.fail, 3).result(30)
        helper.write_text("def double(x): return 20 * x\n")
        os.utime(helper, (1, 1))
        with pytest.warns(t2.Twister2Warning, match="has changed since this notebook imported"):
            assert pool.submit(helper_of_a_pool.double, 4).result(30) == 80
    finally:
        del sys.modules["helper_of_a_pool"]


def test_an_exception_is_caught_by_its_type_and_names_its_item(t2: Any, pool: Any) -> None:
    def divide(number: int) -> float:
        return 1 / number

    good, bad = t2.map(divide, [1, 0], executor=pool)
    assert good.result(30) == 1
    with pytest.raises(ZeroDivisionError) as caught:
        bad.result(30)
    assert isinstance(caught.value, t2.JobFailed)
    assert isinstance(bad.exception(), t2.JobFailed) and good.exception() is None
    text = str(caught.value)
    assert text.startswith("item 1 of divide (0) failed on worker ") and "return 1 / number" in text
    with pytest.raises(SystemExit):
        raise pool.submit(sys.exit, 3).exception(30).__cause__
    lock = pool.submit(threading.Lock).exception(30)
    with pytest.raises(t2.PackageError, match=r"cannot be pickled: it is a _thread.lock"):
        raise lock.__cause__
    assert lock.remote_traceback.count("\n") == 1, "no frame of ours"
    assert str(pool.submit(abs, "a").exception(30)).endswith("\nTypeError: bad operand type for abs(): 'str'")


def test_what_cannot_travel_is_refused_at_once(t2: Any, pool: Any) -> None:
    with pytest.raises(t2.PackageError, match=r"item 1 of abs cannot be pickled: it is a _thread.lock$"):
        t2.map(abs, [1, threading.Lock()], executor=pool)
    with pytest.raises(
        t2.PackageError, match=r"the arguments of abs .*: argument 1 is a .* stays in the notebook"
    ):
        pool.submit(abs, 1, pool)
    with pytest.raises(t2.SubmitError, match="the items are an int; give a list"):
        t2.map(abs, 5, executor=pool)
    lock = threading.Lock()
    with pytest.raises(t2.PackageError, match="lock"):
        pool.submit(lambda: lock)
    with pytest.raises(t2.SubmitError, match="cannot call a int"):
        pool.submit(3)


def test_what_raises_is_tried_again_as_often_as_is_said(t2: Any, pool: Any, tmp_path: Path) -> None:
    def fragile(number: int, folder: str = str(tmp_path)) -> int:
        tries = len(list(Path(folder).glob(f"{number}-*")))
        (Path(folder) / f"{number}-{tries}").touch()
        if tries < number:
            raise OSError("not yet")
        return tries

    futures = t2.map(fragile, range(4), retries=2, executor=pool)
    assert [future.exception(30) is None for future in futures] == [True, True, True, False]
    assert [future.result() for future in futures[:3]] == [0, 1, 2]


def test_a_generator_is_read_as_workers_need_it(t2: Any, pool: Any) -> None:
    read = []

    def items() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    stream = t2.map(lambda number: number * 2, items(), executor=pool)
    taken = [next(iter(stream)).result(30) for _ in range(20)]
    assert taken == list(range(0, 40, 2))
    some = list(itertools.islice(t2.as_completed(stream), 100))
    assert len({future.result() for future in some}) == 100
    assert len(read) < 1000
    stream.cancel()
    odd = t2.map(abs, iter([-1, threading.Lock(), -3]), executor=pool)
    told = {future.index: future.exception(30) for future in t2.as_completed(odd)}
    assert told[0] is told[2] is None and "item 1 of abs cannot be pickled" in str(told[1])
    first = list(itertools.islice(pool.map(abs, items()), 5))
    assert first == [0, 1, 2, 3, 4]
    assert sorted(f.result(30) for f in t2.as_completed(t2.map(abs, iter(range(500)), executor=pool))) == [
        *range(500)
    ]


def test_futures_can_be_awaited_and_waited_for_by_others(t2: Any, pool: Any) -> None:
    async def both() -> list[int]:
        return list(await asyncio.gather(*t2.map(adder(1), range(10), executor=pool)))

    assert asyncio.run(both()) == list(range(1, 11))
    futures = t2.map(abs, range(5), executor=pool)
    done, pending = concurrent.futures.wait(futures, 30)
    assert len(done) == 5 and not pending
    from tqdm import tqdm

    with open(os.devnull, "w") as nowhere:
        bar = tqdm(t2.as_completed(futures), disable=False, file=nowhere)
        assert bar.total == 5
        assert len(list(bar)) == 5


def test_a_coroutine_functions_result_is_what_it_returns(pool: Any) -> None:
    async def soon(number: int) -> int:
        await asyncio.sleep(0)
        return number

    assert pool.submit(soon, 5).result(30) == 5


def test_a_timeout_says_what_is_going_on(t2: Any, pool: Any) -> None:
    future = pool.submit(time.sleep, 1.0)
    with pytest.raises(
        TimeoutError, match=r"sleep\(1.0\) has no result after 0.05 s: [12] of 2 workers of pool .* run"
    ):
        future.result(0.05)
    assert future.result(30) is None


def test_cancelling_what_waits_and_what_runs(t2: Any, pool: Any) -> None:
    running = [pool.submit(time.sleep, 300) for _ in range(2)]
    waiting = pool.submit(time.sleep, 300)
    eventually(lambda: all(future.running() for future in running))
    assert not waiting.running()
    assert waiting.cancel() and waiting.cancelled()
    for future in running:
        assert future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result()
    # Their workers are ended, and started again.
    assert list(pool.map(abs, range(10), timeout=60)) == list(range(10))
    assert pool.submit(abs, 1).result(30) is not None


def test_a_call_whose_worker_is_killed_runs_again_and_one_that_kills_them_is_given_up(
    t2: Any, pool: Any, tmp_path: Path
) -> None:
    def killed_once(number: int, folder: str = str(tmp_path)) -> int:
        mark = Path(folder) / str(number)
        if number == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert [future.result(60) for future in t2.map(killed_once, range(5), executor=pool)] == [*range(5)]
    poison = pool.submit(os._exit, 7)
    with pytest.raises(
        t2.JobFailed, match=r"3 workers ended while they ran it, the last: worker [01] exited with code 7"
    ):
        poison.result(60)
    assert pool.submit(abs, -1).result(60) == 1


@pytest.mark.slow
def test_what_needs_too_much_memory_costs_workers_and_nobody_elses_result(t2: Any) -> None:
    def hog(number: int) -> int:
        return len(bytearray(600_000_000 if number < 2 else 10))

    futures = t2.map(hog, range(8), workers=2, cpu=0.5, ram_mega_bytes=96)
    assert [future.result(120) for future in futures[2:]] == [10] * 6
    for future in futures[:2]:
        # by its own control group, or with its executor by the agent's, whichever is first
        said = r"item [01] of hog was given up: worker [01] .*( 96 MiB|Memory limit exceeded)"
        with pytest.raises(t2.JobFailed, match=said):
            future.result(60)


def test_a_kernels_exit_ends_its_pools_and_says_nothing(t2: Any, pool: Any) -> None:
    code = (
        "import t2notebook as t2\n"
        "print(t2.map(abs, [-3], workers=1, cpu=0.1, ram_mega_bytes=64, name='other')[0].result(60))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90)
    assert (done.stdout, done.stderr, done.returncode) == ("3\n", "", 0)
    eventually(lambda: t2.jobs().query("name == 'other'")["state"].iloc[0] == "COMPLETED")


@pytest.mark.parametrize(("end", "code"), [("returns", 0), ("exits", 5), ("fails", 1)])
def test_a_copy_that_a_call_forks_is_no_worker(pool: Any, end: str, code: int) -> None:
    """It answered the call on the worker's connection, before the worker did, and took other calls."""

    def forks() -> int:
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if end == "exits":
            sys.exit(5)
        return 1 // (end == "returns")

    assert [future.result(30) for future in [pool.submit(forks) for _ in range(4)]] == [code] * 4


def test_an_executor_that_was_shut_down(t2: Any, pool: Any) -> None:
    other = t2.Executor(**ASKED)
    running = [other.submit(time.sleep, 0.3) for _ in range(2)]
    eventually(lambda: all(future.running() or future.done() for future in running))
    waiting = [other.submit(abs, number) for number in range(50)]
    other.shutdown(wait=True, cancel_futures=True)
    assert all(future.done() for future in running + waiting)
    assert [future.result() for future in running] == [None, None]
    assert any(future.cancelled() for future in waiting)
    with pytest.raises(RuntimeError):
        other.submit(abs, 1)
    assert pool.submit(abs, -2).result(30) == 2, "the pool is others', too"


def test_dask_runs_on_it(pool: Any) -> None:
    dask = pytest.importorskip("dask")
    total = dask.delayed(sum)([dask.delayed(abs)(-number) for number in range(10)])
    with dask.config.set(pool=pool):
        assert total.compute() == 45
        assert total.compute(scheduler="processes") == 45
        with pytest.raises(ZeroDivisionError):
            dask.delayed(lambda: 1 // 0)().compute()


def test_joblib_and_scikit_learn_run_on_it(pool: Any) -> None:
    joblib = pytest.importorskip("joblib")
    data = np.ones(400_000)
    with joblib.parallel_config(backend="t2notebook", executor=pool):
        found = joblib.Parallel()(
            joblib.delayed(lambda a, k: (os.getpid(), a.sum() * k))(data, k) for k in range(20)
        )
        assert [value for _, value in found] == [400_000 * k for k in range(20)]
        assert os.getpid() not in {pid for pid, _ in found} and len({pid for pid, _ in found}) <= 2
        with pytest.raises(ZeroDivisionError):
            joblib.Parallel()(joblib.delayed(divmod)(1, k) for k in range(3))
    with joblib.parallel_config(backend="t2notebook", n_jobs=2, cpu=0.5, ram_mega_bytes=64):
        assert joblib.Parallel()(joblib.delayed(abs)(-k) for k in range(100)) == list(range(100))


def test_calls_go_on_when_the_session_is_killed(t2: Any, home: Path, pool: Any, tmp_path: Path) -> None:
    def slow(number: int, folder: str = str(tmp_path)) -> int:
        (Path(folder) / f"{number}-{time.time()}").touch()
        time.sleep(0.4)
        return number

    futures = t2.map(slow, range(8), executor=pool)
    eventually(lambda: len(list(tmp_path.iterdir())) >= 2)
    (session,) = sessions_of(home)
    os.kill(session, signal.SIGKILL)
    assert [future.result(90) for future in futures] == list(range(8))
    assert len(list(tmp_path.iterdir())) == 8, "each ran once: no worker was lost"


def test_a_pool_ends_when_nobody_needs_it_and_the_next_call_starts_another(t2: Any, pool: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("T2_POOL_LINGER", "0.3")
        with t2.Executor(**ASKED) as short:
            assert short.submit(abs, -1).result(60) == 1
            first = short.job
            assert first.job_id != pool.job.job_id
            assert first.wait(60).value == "COMPLETED"
            assert short.submit(abs, -2).result(60) == 2
            assert short.job.job_id != first.job_id


def test_a_pool_whose_job_is_killed_says_so(t2: Any, pool: Any) -> None:
    future = pool.submit(time.sleep, 300)
    pool.job.kill(message="not today")
    with pytest.raises(t2.JobFailed, match="not today"):
        future.result(60)
    assert pool.submit(abs, -3).result(60) == 3


def test_options_that_make_no_sense(t2: Any) -> None:
    for options, text in (
        ({"workers": 0}, "workers is 0"),
        ({"retries": -1}, "retries is -1"),
        ({"keep_going": True}, "a pool takes no keep_going"),
        ({"job_master": "cluster"}, "a pool takes no job_master"),
        ({"debug": True}, "a pool takes no debug"),
        ({"worker": 3}, r"a pool takes no worker; did you mean workers\?"),
        ({"chunksize": 3}, "a pool takes no chunksize: how many calls"),
    ):
        with pytest.raises(t2.SubmitError, match=text):
            t2.Executor(**options)
    with pytest.raises(t2.SubmitError, match=r"executor is an int; give a t2.Executor"):
        t2.map(abs, [1], executor=3)
    with pytest.raises(t2.SubmitError, match="there are no items"):
        t2.map(abs)
