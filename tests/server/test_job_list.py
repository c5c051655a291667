"""The list of jobs of a Jupyter server that nobody looks at: whatever comes late, a job that goes on is known."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from t2notebook.client.session_http import Connection, Stream
from t2notebook.server.job_list import JobList, is_active
from tests.session.conftest import clean, end, home, kernel, unconfigured

__all__ = ["clean", "home", "unconfigured"]

KERNEL = """
    import time
    import t2notebook as t2
    t2.submit(lambda: time.sleep({first})).wait()
    job = t2.submit(lambda: time.sleep(100))
    print(job.job_id)
    time.sleep(100)
"""

#: Seconds for which a thread of a busy server does not run.
LATE = 0.6


def _before(name: str, of: type) -> Callable[[pytest.MonkeyPatch], None]:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        call = getattr(of, name)

        def late(self: Any, *arguments: Any) -> Any:
            time.sleep(LATE)
            return call(self, *arguments)

        monkeypatch.setattr(of, name, late)

    return patch


def _after(name: str, of: type) -> Callable[[pytest.MonkeyPatch], None]:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        call = getattr(of, name)

        def late(self: Any, *arguments: Any) -> Any:
            answer = call(self, *arguments)
            time.sleep(LATE)
            return answer

        monkeypatch.setattr(of, name, late)

    return patch


def _beside(name: str, of: type) -> Callable[[pytest.MonkeyPatch], None]:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        call = getattr(of, name)

        def late(self: Any) -> None:
            threading.Timer(LATE, call, [self]).start()

        monkeypatch.setattr(of, name, late)

    return patch


@pytest.mark.parametrize("first", [pytest.param(0, marks=pytest.mark.slow), 0.4])
@pytest.mark.parametrize(
    "delay",
    [
        _before("open_stream", Connection),
        _after("open_stream", Connection),
        _after("readline", Stream),
        _beside("finish", Stream),
    ],
    ids=["opened-late", "read-late", "lines-late", "closed-late"],
)
def test_a_job_is_known_whatever_comes_late(
    clean: Path, monkeypatch: pytest.MonkeyPatch, delay: Callable[[pytest.MonkeyPatch], None], first: float
) -> None:
    """The stream of a session was closed before the session had said which jobs it has, and what it told a stream that
    was being closed was lost: the status bar stayed empty.
    """
    delay(monkeypatch)

    async def watch() -> None:
        jobs = JobList()
        jobs.start()
        process = kernel(KERNEL.format(first=first))
        try:
            assert process.stdout is not None
            job_id = (await jobs.run(process.stdout.readline)).strip()
            async with asyncio.timeout(40):
                while not is_known(jobs, job_id):
                    await asyncio.sleep(0.05)
                # and when it has ended, nothing is held any more
                process.kill()
                await jobs.run(_kill, jobs.rows[job_id])
                while jobs.active or jobs.streams:
                    await asyncio.sleep(0.05)
        finally:
            await jobs.stop()
            process.kill()
            end(process)

    asyncio.run(watch())


def is_known(jobs: JobList, job_id: str) -> bool:
    return job_id in jobs.rows and is_active(jobs.rows[job_id])


def _kill(row: dict[str, Any]) -> None:
    from t2notebook.server import actions

    actions.kill(actions.JobLocation(row["job_id"], row["directory"]))


def test_a_request_does_not_wait_for_others_that_take_long(clean: Path) -> None:
    """Four kills of lost jobs whose environment did not answer kept each further kill, and the list, for 90 s."""

    async def ask() -> None:
        jobs = JobList()
        held = threading.Event()
        slow = [asyncio.ensure_future(jobs.run(held.wait, 60)) for _ in range(8)]
        try:
            async with asyncio.timeout(20):
                await asyncio.sleep(0)
                assert await jobs.run(lambda: not any(task.done() for task in slow))
                await jobs.refreshed()
        finally:
            held.set()
            await asyncio.gather(*slow)
            await jobs.stop()

    asyncio.run(ask())
