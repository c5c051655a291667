"""The server's connections without sockets: what goes out when, and in which order."""

from __future__ import annotations

import asyncio

from t2notebook.localmesos.http import http1
from t2notebook.localmesos.http.server import Answer, Connection, EventStream


class Sent(asyncio.Transport):
    """A transport that keeps what is written, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.pieces.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def get(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode()


def echo(request: http1.Request) -> Answer:
    return http1.Response(body=request.path.encode())


def test_the_answers_of_one_turn_go_out_at_once() -> None:
    async def run() -> list[bytes]:
        sent = Sent()
        connection = Connection(echo, set())
        connection.connection_made(sent)
        connection.data_received(get("/a") + get("/b"))
        connection.data_received(get("/c"))
        assert sent.pieces == []
        await asyncio.sleep(0)
        connection.data_received(get("/d"))
        await asyncio.sleep(0)
        return sent.pieces

    first, second = asyncio.run(run())
    bodies = [part.rpartition(b"\r\n\r\n")[2] for part in first.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"/a", b"/b", b"/c"]
    assert second.endswith(b"/d")


def test_the_last_answer_is_out_before_the_connection_closes() -> None:
    async def run() -> Sent:
        sent = Sent()
        connection = Connection(echo, set())
        connection.connection_made(sent)
        connection.data_received(get("/last", "Connection: close\r\n"))
        await asyncio.sleep(0)  # what was to be sent at the turn's end must find nothing
        return sent

    sent = asyncio.run(run())
    assert sent.closed
    assert [piece.rpartition(b"\r\n\r\n")[2] for piece in sent.pieces] == [b"/last"]


def test_events_keep_their_order_and_their_chunks() -> None:
    async def run() -> bytes:
        sent, stream = Sent(), EventStream([])
        connection = Connection(lambda _: stream, set())
        connection.connection_made(sent)
        stream.send(b"early")
        connection.data_received(get("/"))
        stream.send(b"one")
        stream.send(b"two")
        stream.close()
        await asyncio.sleep(0)
        (wire,) = sent.pieces
        return wire.partition(b"\r\n\r\n")[2]

    wire = asyncio.run(run())
    assert wire == b"".join(http1.chunk(part) for part in (b"early", b"one", b"two", b""))
