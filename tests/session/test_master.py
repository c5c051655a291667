"""The master of a session: how it is found, what it is asked with, and when it is gone."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import asdict
from typing import Any, cast

import pytest

from t2notebook.config import Config
from t2notebook.mesos.credentials import Credentials
from t2notebook.model.address import Address
from t2notebook.session import master as module
from t2notebook.session.embedded import Cluster
from t2notebook.session.master import Master


class Embedded:
    """Stands where the embedded Mesos is."""

    gone = False

    def wait(self) -> str:
        return "127.0.0.1:5050"

    def is_gone(self) -> bool:
        return self.gone


class Detector:
    """A detector that knows of no master until it has been asked twice."""

    def __init__(self) -> None:
        self.current: Address | None = None
        self.trouble = "nobody leads"
        self.asked = 0
        self.is_stopped = False

    async def leader(self) -> Address:
        self.asked += 1
        if self.asked > 2:
            self.current = Address("h2", 5050)
            return self.current
        raise TimeoutError

    async def stop(self) -> None:
        self.is_stopped = True


def config(**fields: Any) -> dict[str, Any]:
    return {**asdict(Config()), **fields}


def nobody_waits(why: str) -> None:
    raise AssertionError(why)


def test_a_master_that_the_settings_name_is_known_at_once() -> None:
    async def main() -> None:
        master = Master(config(master="h1:5050"), {"principal": "ada", "secret": "s"}, None)
        assert master.address == ""
        await master.find(nobody_waits)
        assert (master.address, str(master.detector), master.trouble) == ("h1:5050", "h1:5050", "")
        assert (master.credentials.principal, master.credentials.secret) == ("ada", "s")
        assert not await master.is_gone(), "it may come back"
        await master.stop()

    asyncio.run(main())


def test_the_embedded_one_knows_nobody_and_may_end() -> None:
    async def main() -> None:
        cluster = Embedded()
        secrets = {"principal": "ada", "secret": "s"}
        master = Master(config(master="local"), secrets, cast("Cluster", cluster))
        await master.find(nobody_waits)
        assert master.address == "127.0.0.1:5050"
        assert master.credentials == Credentials()
        assert not await master.is_gone()
        cluster.gone = True
        assert await master.is_gone()
        await master.stop()

    asyncio.run(main())


def test_while_nobody_leads_the_reason_is_told_and_then_the_leader_is_the_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        detector, told = Detector(), list[str]()
        monkeypatch.setattr(module, "find", lambda *_, **__: detector)
        master = Master(config(master="zk://h/mesos"), {}, None)
        assert master.trouble == ""
        await master.find(told.append)
        assert told == ["nobody leads"] * 2
        assert master.address == "h2:5050"
        assert master.trouble == "nobody leads"
        await master.stop()
        assert detector.is_stopped

    asyncio.run(main())


def test_who_was_never_looked_for_is_stopped_as_well() -> None:
    asyncio.run(Master(config(), {}, None).stop())


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (socket.gaierror(-2, "Name or service not known"), "cannot be found .*not known.*configure"),
        (OSError("there is no way to the master"), "^there is no way to the master$"),
        (RuntimeError(), "^RuntimeError$"),
    ],
)
def test_why_there_is_no_way_to_it_is_one_line(error: Exception, why: str) -> None:
    assert re.search(why, Master(config(), {}, None).explain(error))
