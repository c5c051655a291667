"""Files in sandboxes, from agents that break off (`test_credentials.py` has those with TLS and credentials)."""

from __future__ import annotations

import asyncio
import io

import pytest

from t2notebook.mesos.agent_files import AgentSilent, Sandbox
from t2notebook.model.address import agent_url


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x15\x03\x01\x00\x02\x02\x16", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf of it"],
    ids=["nothing", "no HTTP", "half of it"],
)
def test_an_agent_that_breaks_off_may_answer_later(answer: bytes) -> None:
    """It is asked again: a result that lies there is not given up for a connection that broke."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        sandbox = Sandbox(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "F", "E")
        with pytest.raises(AgentSilent, match="does not answer"):
            await sandbox.download("result", io.BytesIO())
        with pytest.raises(AgentSilent, match="does not answer"):
            await sandbox.read("stdout")
        server.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("scheme", "address", "url"),
    [
        ("http", {"ip": "10.0.0.7", "hostname": "h7", "port": 5051}, "http://10.0.0.7:5051"),
        ("https", {"ip": "10.0.0.7", "hostname": "h7", "port": 5051}, "https://h7:5051"),
        ("http", {"ip": "fd00::7", "port": 5051}, "http://[fd00::7]:5051"),
    ],
)
def test_an_agents_url_is_by_number_and_with_tls_by_name(
    scheme: str, address: dict[str, object], url: str
) -> None:
    assert agent_url({"scheme": scheme, "address": address}) == url
