"""Masters that follow a script, and a listener that writes down what it is told."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from t2notebook.mesos.credentials import ANONYMOUS, Credentials
from t2notebook.mesos.driver import Driver
from t2notebook.scheduler.messages import framework_info

SUBSCRIBED = {
    "type": "SUBSCRIBED",
    "subscribed": {"framework_id": {"value": "F"}, "heartbeat_interval_seconds": 15},
}
HEARTBEAT = {"type": "HEARTBEAT"}


def record(event: Any) -> bytes:
    body = json.dumps(event).encode()
    return b"%d\n%s" % (len(body), body)


class FakeMaster:
    """Answers SUBSCRIBE with a script, and calls with a code; remembers what it was told."""

    def __init__(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.subscriptions: list[dict[str, Any]] = []
        self.script: list[Callable[[RequestHandler], Awaitable[None]]] = []
        #: What a kind of call is answered, "" any: a status, 0 for a broken connection, 1 for silence.
        self.codes: dict[str, int] = {}
        self.headers: list[Any] = []
        self.call_streams: list[Any] = []
        master = self

        class Handler(RequestHandler):
            async def post(self) -> None:
                call = json.loads(self.request.body)
                master.headers.append(self.request.headers)
                if call["type"] != "SUBSCRIBE":
                    master.calls.append({**call, "stream": self.request.headers.get("Mesos-Stream-Id")})
                    master.call_streams.append(self.request.connection.stream)  # type: ignore[union-attr]
                    code = master.codes.get(call["type"], master.codes.get("", 202))
                    if code == 0:
                        # Whoever sent it cannot know that it has arrived.
                        master.call_streams[-1].close()
                        return
                    if code == 1:
                        await asyncio.sleep(60)
                    self.set_status(code)
                    self.finish("refused" if code >= 400 else "")
                    return
                master.subscriptions.append({**call, "at": time.monotonic()})
                step = master.script[min(len(master.subscriptions), len(master.script)) - 1]
                try:
                    await step(self)
                except StreamClosedError:
                    pass

        (socket,) = bind_sockets(0, host)
        self.port = socket.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.server = HTTPServer(Application([("/(?:master/)?api/v1/scheduler", Handler)]), ssl_options=tls)
        self.server.add_socket(socket)

    def types(self) -> list[str]:
        return [call["type"] for call in self.calls]

    async def close(self) -> None:
        self.server.stop()
        await self.server.close_all_connections()


def stream(*events: Any, stay: float = 60.0) -> Callable[[RequestHandler], Awaitable[None]]:
    async def step(handler: RequestHandler) -> None:
        handler.set_header("Mesos-Stream-Id", "stream-1")
        for event in events:
            handler.write(record(event))
            await handler.flush()
        await asyncio.sleep(stay)

    return step


def answer(code: int, text: str = "", **headers: str) -> Callable[[RequestHandler], Awaitable[None]]:
    async def step(handler: RequestHandler) -> None:
        handler.set_status(code)
        for name, value in headers.items():
            handler.set_header(name, value)
        handler.finish(text)

    return step


class Recorder:
    """A listener that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.fail = False

    def __getattr__(self, name: str) -> Callable[..., None]:
        def tell(*arguments: Any) -> None:
            self.told.append((name, *arguments))
            if self.fail:
                raise RuntimeError("a bug in a callback")

        return tell

    def names(self) -> list[str]:
        return [name for name, *_ in self.told]


async def until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def a_driver(recorder: Recorder, master: Any, credentials: Credentials = ANONYMOUS, **info: Any) -> Driver:
    framework = framework_info(
        user="ada", name="test", role="*", failover_timeout=60, principal=credentials.principal
    )
    return Driver(recorder, {**framework, **info}, master, credentials=credentials)


def run(scenario: Callable[[FakeMaster, Recorder, Driver], Awaitable[None]]) -> None:
    async def main() -> None:
        master, recorder = FakeMaster(), Recorder()
        driver = a_driver(recorder, master.address)
        try:
            await scenario(master, recorder, driver)
        finally:
            await driver.stop()
            await master.close()

    asyncio.run(main())
