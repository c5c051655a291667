"""The driver at the embedded Mesos, with an executor that says back what it is told."""

from __future__ import annotations

import asyncio
import base64
import getpass
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from t2notebook.localmesos import LocalMesos
from t2notebook.mesos.credentials import ANONYMOUS, Credentials
from t2notebook.mesos.driver import Driver
from tests.localmesos.conftest import executor_info
from tests.mesos.fakes import Recorder, a_driver, until


class Acknowledging(Recorder):
    """Acknowledges what it is told, since the agent says nothing new of a task before."""

    def update(self, status: Any) -> None:
        self.told.append(("update", status))
        if "uuid" in status:
            self.driver.acknowledgeStatusUpdate(status)


@asynccontextmanager
async def started(
    master: str, access: Credentials = ANONYMOUS, **info: Any
) -> AsyncIterator[tuple[Driver, Recorder]]:
    recorder = Acknowledging()
    driver = recorder.driver = a_driver(recorder, master, access, user=getpass.getuser(), **info)
    driver.start()
    try:
        yield driver, recorder
    finally:
        await driver.stop(teardown=True)


def told(recorder: Recorder, name: str) -> list[Any]:
    return [arguments for kind, *arguments in recorder.told if kind == name]


@pytest.mark.parametrize("guarded", [False, True])
def test_a_task_and_a_word_with_its_executor(tmp_path: Path, guarded: bool) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text("alice s3cret\n")
    access = Credentials("alice", "s3cret") if guarded else ANONYMOUS

    async def scenario(master: str) -> None:
        async with started(master, access) as (driver, recorder):
            await until(lambda: "offers" in recorder.names())
            offer = told(recorder, "offers")[0][0][0]
            executor = {**executor_info("ex"), "framework_id": {"value": driver.framework_id}}
            task = {
                "name": "t",
                "task_id": {"value": "t"},
                "agent_id": offer["agent_id"],
                "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}}],
                "executor": executor,
                "data": base64.b64encode(b"run").decode(),
            }
            driver.launchTasks([offer["id"]], [task], {"refuse_seconds": 60})
            await until(lambda: any(one[0]["state"] == "TASK_RUNNING" for one in told(recorder, "update")))
            data = base64.b64encode(json.dumps({"url": "http://10.0.0.1:1"}).encode()).decode()
            driver.sendFrameworkMessage({"value": "ex"}, offer["agent_id"], data)
            await until(lambda: "message" in recorder.names())
            assert told(recorder, "message") == [[offer["agent_id"]["value"], "ex", data]]
            driver.kill("t", offer["agent_id"]["value"], 0.5)
            await until(lambda: told(recorder, "update")[-1][0]["state"] == "TASK_KILLED")
            driver.shutdown_executor(offer["agent_id"]["value"], "ex")
            await until(lambda: "executor_lost" in recorder.names())
            assert "call_failed" not in recorder.names()

    with LocalMesos(agents=1, **({"credentials": credentials} if guarded else {})) as cluster:
        asyncio.run(scenario(cluster.master))


def test_several_roles() -> None:
    async def scenario(master: str) -> None:
        async with started(master, roles=["eng", "ml/train"]) as (driver, recorder):
            await until(lambda: "offers" in recorder.names())
            (offers,) = told(recorder, "offers")[0]
            assert {offer["allocation_info"]["role"] for offer in offers} <= {"eng", "ml/train"}
            driver.suppressOffers(["eng"])
            driver.reviveOffers(["ml/train"])

    with LocalMesos(agents=1) as cluster:
        asyncio.run(scenario(cluster.master))


def test_a_role_that_the_master_refuses_is_one_line() -> None:
    async def scenario(master: str) -> None:
        async with started(master, roles=["a/../b"]) as (_, recorder):
            await until(lambda: "error" in recorder.names())
            ((text,),) = told(recorder, "error")
            assert ".." in text and "\n" not in text

    with LocalMesos(agents=1) as cluster:
        asyncio.run(scenario(cluster.master))
