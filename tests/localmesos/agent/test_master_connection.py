"""An agent's connection to its master: what is said on it, and when there is another one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from t2notebook.localmesos.agent.master_connection import SILENT_PINGS, MasterConnection
from t2notebook.localmesos.agent.options import AgentOptions
from t2notebook.localmesos.common.link import PATH, SECRET_HEADER
from t2notebook.localmesos.common.resources import Resources

PING = 0.02


class Master:
    """A master that takes agents' links; `peers` has the ends of those that have come, `heads` their requests."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.peers: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        self.writers.append(writer)
        await self.peers.put((reader, writer))

    async def peer(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(30):
            return await self.peers.get()


async def said(reader: asyncio.StreamReader) -> Any:
    async with asyncio.timeout(30):
        return json.loads(await reader.readline())


def with_connection(
    directory: Path, test: Callable[[Master, MasterConnection, list[Any]], Awaitable[None]]
) -> None:
    async def main() -> None:
        master, got = Master(), list[Any]()
        server = await asyncio.start_server(master.accept, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        options = AgentOptions(
            0, "127.0.0.1", (host, port), "s3cret", str(directory), Resources.of(cpus=1), ping=PING
        )
        connection = MasterConnection(options, lambda: {"op": "register", "times": len(got)}, got.append)
        staying = asyncio.create_task(connection.stay())
        try:
            await test(master, connection, got)
        finally:
            staying.cancel()
            await asyncio.gather(staying, return_exceptions=True)
            connection.close()
            server.close()
            for writer in master.writers:
                writer.close()
                await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    asyncio.run(main())


def test_it_registers_first_and_passes_on_what_comes(tmp_path: Path) -> None:
    async def test(master: Master, connection: MasterConnection, got: list[Any]) -> None:
        reader, writer = await master.peer()
        assert master.heads[0].startswith(f"POST {PATH} HTTP/1.1\r\n")
        assert f"{SECRET_HEADER}: s3cret\r\n" in master.heads[0]
        assert await said(reader) == {"op": "register", "times": 0}
        connection.send({"op": "update"})
        assert await said(reader) == {"op": "update"}
        writer.write(b'{"op": "pong"}\n{"op": "registered", "agent_id": "S0"}\n')
        async with asyncio.timeout(30):
            while not got:
                await asyncio.sleep(0.01)
        assert got == [{"op": "registered", "agent_id": "S0"}], "an answer to a ping is nobody else's"

    with_connection(tmp_path, test)


def test_one_that_broke_is_opened_again_and_registers_anew(tmp_path: Path) -> None:
    async def test(master: Master, connection: MasterConnection, got: list[Any]) -> None:
        for _ in range(2):
            reader, writer = await master.peer()
            assert (await said(reader))["op"] == "register"
            writer.close()
        await master.peer()

    with_connection(tmp_path, test)


def test_one_on_which_nothing_comes_is_given_up_and_without_one_nothing_is_sent(tmp_path: Path) -> None:
    async def test(master: Master, connection: MasterConnection, got: list[Any]) -> None:
        connection.send({"op": "lost"})
        reader, _ = await master.peer()
        assert (await said(reader))["op"] == "register"
        connection.ping()
        assert await said(reader) == {"op": "ping"}
        await asyncio.sleep((SILENT_PINGS + 1) * PING)
        connection.ping()
        async with asyncio.timeout(30):
            while await reader.readline():
                pass
        again, _ = await master.peer()
        assert (await said(again))["op"] == "register"

    with_connection(tmp_path, test)
