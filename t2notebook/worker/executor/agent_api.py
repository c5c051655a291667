"""The v1 executor API (JSON) as a client: calls on one kept connection, events from another."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...model.text import dumps
from ...protocol.recordio import EventDecoder
from .settings import Settings

PATH = "/api/v1/executor"
_TIMEOUT = 5.0
#: SUBSCRIBE answers that another attempt may not get: the agent is starting (404, 503) or hiccups.
_TRANSIENT = frozenset({404, 408, 429, 500, 502, 503, 504})


class Refused(Exception):
    """The agent answered with an error.

    Parameters
    ----------
    status : int
    text : str
        The body.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status

    @property
    def is_transient(self) -> bool:
        """Whether trying again may help."""
        return self.status in _TRANSIENT


class StreamEnded(Exception):
    """The agent has ended the event stream, or it broke."""


class Agent:
    """An executor's agent.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ids = {
            "framework_id": {"value": settings.framework_id},
            "executor_id": {"value": settings.executor_id},
        }
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if settings.token:
            self._headers["Authorization"] = f"Bearer {settings.token}"
        self._calls: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None  # owns the stream's socket
        self.stream: socket.socket | None = None
        self._decoder = EventDecoder()
        self._early = b""
        self._context: Any = None
        self._nothing_yet: tuple[type[OSError], ...] = (BlockingIOError,)
        if settings.tls is not None:
            self._use_tls(settings.tls)

    def _use_tls(self, tls: Mapping[str, str]) -> None:
        """Trust whom libprocess's own executors would: nobody is checked unless the operator says so."""
        import ssl  # not for the many clusters without

        context = self._context = ssl.create_default_context(
            cafile=tls.get("CA_FILE"), capath=tls.get("CA_DIR")
        )
        context.check_hostname = False  # the agent is known by its number
        context.set_ciphers("DEFAULT")  # Python's choice has none of those that libprocess speaks by default
        wants = [tls.get(name, "").lower() for name in ("VERIFY_SERVER_CERT", "VERIFY_CERT", "REQUIRE_CERT")]
        if not {"1", "true"}.intersection(wants):
            context.verify_mode = ssl.CERT_NONE
        if cert := tls.get("CERT_FILE"):
            context.load_cert_chain(cert, tls.get("KEY_FILE"))
        self._nothing_yet = (BlockingIOError, ssl.SSLWantReadError)

    def subscribe(
        self,
        tasks: Sequence[Mapping[str, Any]] = (),
        updates: Sequence[Mapping[str, Any]] = (),
        *,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """Open the event stream; `stream` is its socket, non-blocking.

        Parameters
        ----------
        tasks, updates : sequence
            TaskInfos and TaskStatuses that the agent has not acknowledged.
        meanwhile : callable, optional
            Is called between the request and its answer.

        Raises
        ------
        Refused
        OSError, http.client.HTTPException
        """
        self.close_stream()
        connection = self._connect()
        try:
            call = {
                "type": "SUBSCRIBE",
                "subscribe": {
                    "unacknowledged_tasks": list(tasks),
                    "unacknowledged_updates": [{"status": status} for status in updates],
                },
            }
            connection.request("POST", PATH, self._encode(call), self._headers)
            if meanwhile is not None:
                meanwhile()
            stream: socket.socket = connection.sock
            response = connection.getresponse()
            if response.status != 200:
                raise Refused(response.status, response.read(500).decode("utf-8", "replace"))
        except BaseException:
            connection.close()
            raise
        stream.setblocking(False)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._response, self.stream = response, stream
        self._decoder = EventDecoder(chunked=bool(response.chunked))
        # Events that came with the headers lie in the response's buffer, where no selector sees them.
        try:
            self._early = response.fp.peek()
        except self._nothing_yet:
            self._early = b""

    def receive(self) -> list[dict[str, Any]]:
        """Return the events that have arrived, without waiting.

        Raises
        ------
        StreamEnded
            When there will be no more.
        """
        assert self.stream is not None
        data, self._early = self._early, b""
        ended = ""
        while not ended:
            try:
                piece = self.stream.recv(1 << 16)
            except self._nothing_yet:
                break
            except OSError as error:
                ended = str(error)
                break
            if not piece:
                ended = "end of stream"
            data += piece
        try:
            events = [json.loads(record) for record in self._decoder.feed(data)]
        except ValueError as error:
            raise StreamEnded(f"cannot read the agent's events: {error}") from None
        if events:
            # The next call finds the end again.
            return events
        if ended or self._decoder.ended:
            raise StreamEnded(ended or "end of stream")
        return []

    def update(self, status: Mapping[str, Any]) -> None:
        """Send a status update; raises as `subscribe` does."""
        self._call({"type": "UPDATE", "update": {"status": status}})

    def message(self, data: str) -> None:
        """Send base64 `data` to the scheduler, through the agent and the master; raises as `subscribe` does."""
        self._call({"type": "MESSAGE", "message": {"data": data}})

    def close_stream(self) -> None:
        """Close the event stream, if there is one."""
        if self._response is not None:
            self._response.close()
        if self.stream is not None:
            self.stream.close()
        self._response = self.stream = None

    def close(self) -> None:
        """Close both connections."""
        self.close_stream()
        if self._calls is not None:
            self._calls.close()
            self._calls = None

    def _call(self, call: dict[str, Any]) -> None:
        body = self._encode(call)
        kept = self._calls is not None
        try:
            self._post(body)
            return
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            # The agent may have closed the kept connection since the last call; an update's uuid makes a
            # second delivery harmless.
            if not kept or isinstance(error, TimeoutError):
                raise
        try:
            self._post(body)
        except (OSError, http.client.HTTPException):
            self._drop()
            raise

    def _post(self, body: bytes) -> None:
        if self._calls is None:
            self._calls = self._connect()
        self._calls.request("POST", PATH, body, self._headers)
        response = self._calls.getresponse()
        text = response.read()
        if response.status not in (200, 202):
            raise Refused(response.status, text[:500].decode("utf-8", "replace"))

    def _drop(self) -> None:
        if self._calls is not None:
            self._calls.close()
            self._calls = None

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._settings.host, self._settings.port
        connection = (
            http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
            if self._context is None
            else http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=self._context)
        )
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _encode(self, call: dict[str, Any]) -> bytes:
        return dumps({**self._ids, **call}).encode()
