"""The live view of a job as the server gives it: true while the kernel stands still, and after it has gone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from t2notebook.model.text import dumps, loads
from tests.server.conftest import TOKEN, Server
from tests.session.conftest import end, eventually, kernel, sessions_of

JOB = """
import t2notebook as t2
def work(env):
    import sys, time
    print("hello from", env.worker_id, flush=True)
    for step in range(600):
        env.progress(step, 600, f"step {{step}}")
        time.sleep(0.1)
        if env.worker_id == 1 and step == {fails}:
            raise ValueError("as it should")
job = t2.submit(work, workers=3, name="view")
print(job.job_id, flush=True)
import time
time.sleep(300)
"""


class Page:
    """A page's WebSocket, and what it knows by it."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.known: dict[str, Any] = {}
        self.messages: list[str] = []

    @classmethod
    async def open(cls, server: Server, job_id: str) -> Page:
        address = server.address.replace("http", "ws", 1)
        headers = {"Authorization": f"token {TOKEN}"}
        return cls(
            await websocket_connect(
                HTTPRequest(f"{address}/t2notebook/api/jobs/{job_id}/view", headers=headers)
            )
        )

    async def until(self, condition: Callable[[dict[str, Any]], Any], seconds: float = 30.0) -> Any:
        """Take messages until `condition` of what is known holds."""
        async with asyncio.timeout(seconds):
            while not (found := "snapshot" in self.known and condition(self.known)):
                message = await self.socket.read_message()
                assert message is not None, self.known
                self.messages.append(message)
                self.known |= loads(message)
        return found

    async def __aenter__(self) -> Page:
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.socket.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while await self.socket.read_message() is not None:
                    pass

    async def say(self, **content: Any) -> None:
        await self.socket.write_message(dumps(content))


def lines(known: dict[str, Any]) -> list[Any]:
    return known.get("output", {}).get("lines", [])


def test_a_view_of_a_job_whose_kernel_stands_still(server: Server, clean: Path) -> None:
    process = kernel(JOB.format(fails=-1))
    assert process.stdout is not None
    job_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGSTOP)  # so that nothing comes from the kernel

    async def look() -> None:
        async with await Page.open(server, job_id) as page:
            await page.until(lambda known: known["snapshot"]["state"] == "STARTED")
            assert page.known["table"]["ids"] == [0, 1, 2] and page.known["snapshot"]["live"]
            await page.until(lambda known: len(lines(known)) == 3)
            await page.until(lambda known: "step" in str(known["table"]["note"]))
            await page.say(kind="open", worker_id=2)
            await page.until(lambda known: known.get("log", {}).get("lines") == [["stdout", "hello from 2"]])
            # of what nobody sees nothing comes but that the server is there
            await page.say(kind="show", is_shown=False)
            await page.until(lambda known: "beat" in known)
            del page.messages[:]
            first = page.known["beat"]
            await page.until(lambda known: known["beat"] == first + 1)
            assert all(set(loads(message)) == {"beat"} for message in page.messages)
            await page.say(kind="show", is_shown=True)
            assert server.post(f"/jobs/{job_id}/kill").code == 200
            await page.until(lambda known: known["snapshot"]["final"])
            assert page.known["snapshot"]["state"] == "KILLED"
            # a log can still be opened
            await page.say(kind="open", worker_id=0)
            await page.until(lambda known: known["log"].get("lines") == [["stdout", "hello from 0"]])

    asyncio.run(look())
    whole = server.get(f"/jobs/{job_id}/view").content
    assert whole["snapshot"]["state"] == "KILLED" and whole["table"]["ids"] == [0, 1, 2]
    process.kill()
    end(process)
    eventually(lambda: not sessions_of(clean))
    whole = server.get(f"/jobs/{job_id}/view?why=1").content  # now from the journal
    assert whole["snapshot"]["state"] == "KILLED" and not whole["snapshot"]["lost"]
    assert "killed by the user" in whole["why"]["message"]


def test_a_view_outlives_kernel_and_session(server: Server, clean: Path) -> None:
    process = kernel(JOB.format(fails=-1))
    assert process.stdout is not None
    job_id = process.stdout.readline().strip()
    (session,) = sessions_of(clean)

    async def look() -> None:
        async with await Page.open(server, job_id) as page:
            await page.until(lambda known: known["snapshot"]["state"] == "STARTED")
            process.kill()
            os.kill(session, signal.SIGKILL)
            await page.until(lambda known: known["snapshot"]["lost"])
            assert "attach" in page.known["snapshot"]["lost"] and not page.known["snapshot"]["live"]
            assert server.post(f"/jobs/{job_id}/kill").code == 200  # another session takes it over
            await page.until(lambda known: known["snapshot"]["final"], 60)
            assert page.known["snapshot"]["state"] == "KILLED" and not page.known["snapshot"]["lost"]

    asyncio.run(look())
    end(process)
    eventually(lambda: not sessions_of(clean))


def test_a_failure_is_told_with_its_traceback(server: Server, clean: Path) -> None:
    process = kernel(JOB.format(fails=2))
    assert process.stdout is not None
    job_id = process.stdout.readline().strip()

    async def look() -> None:
        async with await Page.open(server, job_id) as page:
            await page.until(lambda known: known["snapshot"]["final"])
            assert "as it should" in page.known["snapshot"]["failures"][0]["text"]
            assert page.known["table"]["bad"] == [1]

    asyncio.run(look())
    process.kill()
    end(process)
    eventually(lambda: not sessions_of(clean))
    assert "as it should" in server.get(f"/jobs/{job_id}/view").content["snapshot"]["failures"][0]["text"]


def test_an_unknown_job_and_a_foreign_word(server: Server) -> None:
    assert server.get("/jobs/ada-pi-1/view").code == 404
    assert server.get("/jobs/ada-pi-1/view?worker=x").code == 400

    async def look() -> None:
        async with await Page.open(server, "ada-pi-1") as page:
            assert "no job 'ada-pi-1'" in loads(await page.socket.read_message())["error"]
            assert await page.socket.read_message() is None

    asyncio.run(look())
