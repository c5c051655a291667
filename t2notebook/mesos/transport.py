"""HTTP to a Mesos master: one long event stream, and calls; on tornado's own HTTP/1.1 connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient

from ..model.address import Address
from ..model.text import dumps
from ..protocol.recordio import FramingError, RecordDecoder
from .credentials import ANONYMOUS, Credentials, tls_context

__all__ = ["BROKEN", "Address", "Connection", "Response"]

#: Seconds for a TCP connection, and as many for TLS on it.
CONNECT_TIMEOUT = 10.0
#: What a connection that does not do its work raises.
BROKEN = (OSError, StreamClosedError, HTTPInputError, FramingError, TimeoutError)
_UNLIMITED = 2**62
_PARAMETERS = HTTP1ConnectionParameters(max_body_size=_UNLIMITED, chunk_size=1 << 20)


@dataclass
class Response:
    """An answer of the master; `body` is empty for a stream."""

    code: int
    reason: str
    headers: HTTPHeaders
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as text, or the reason phrase."""
        return self.body.decode("utf-8", "replace").strip() or self.reason


async def open_stream(address: Address, credentials: Credentials = ANONYMOUS) -> IOStream:
    """Connect, with TLS where the address has it.

    Raises
    ------
    OSError
        Also for a host that does not resolve, and for a time-out.
    StreamClosedError
        When TLS does not come about; its `real_error` says why.
    """
    try:
        stream = await TCPClient().connect(
            address.host, address.port, max_buffer_size=_UNLIMITED, timeout=CONNECT_TIMEOUT
        )
    except TimeoutError:
        raise TimeoutError("no answer in time") from None
    stream.set_nodelay(True)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if address.tls:
        handshake = stream.start_tls(False, credentials.tls or tls_context(), address.name or address.host)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                stream = await handshake
        except TimeoutError:
            raise TimeoutError("no answer in time to our TLS; is it a master by http://?") from None
    return stream


class Connection:
    """One TCP connection to a master.

    `post` is for calls, one after the other; `stream` for a subscription. `close` may be called at any time,
    by anyone: what runs then ends with `StreamClosedError`.
    """

    def __init__(self, stream: IOStream, address: Address, credentials: Credentials) -> None:
        self._stream = stream
        self._http = HTTP1Connection(stream, True, _PARAMETERS)
        self._credentials = credentials
        self.address = address
        self.local_host: str = stream.socket.getsockname()[0]

    @classmethod
    async def open(cls, address: Address, credentials: Credentials = ANONYMOUS) -> Connection:
        """Connect, with TLS where the address has it.

        Raises
        ------
        OSError
            Also for a host that does not resolve, and for a time-out.
        StreamClosedError
            When TLS does not come about; its `real_error` says why.
        """
        return cls(await open_stream(address, credentials), address, credentials)

    @property
    def closed(self) -> bool:
        """Whether either side has closed it."""
        return self._stream.closed()

    def close(self) -> None:
        """Close it."""
        self._stream.close()

    async def post(self, path: str, body: Any, headers: dict[str, str]) -> Response:
        """Send a call and return its answer, with the body.

        Parameters
        ----------
        path : str
        body
            JSON-ready.
        headers : dict
        """
        collector = _Collector()
        await self._request("POST", path, dumps(body).encode(), headers, collector)
        return collector.result()

    async def get(self, path: str, headers: dict[str, str]) -> Response:
        """GET a path and return the answer, with the body."""
        collector = _Collector()
        await self._request("GET", path, b"", headers, collector)
        return collector.result()

    async def stream(
        self,
        path: str,
        body: Any,
        headers: dict[str, str],
        on_headers: Callable[[Response], None],
        on_record: Callable[[bytes], None],
    ) -> Response:
        """Send a subscription and hand over its records until it ends; return the answer.

        An answer other than 200 is returned with its body, and neither callback is called.

        Parameters
        ----------
        path : str
        body
            JSON-ready.
        headers : dict
        on_headers : callable
            Called with the answer as soon as its headers are here.
        on_record : callable
            Called with each record of the RecordIO stream.
        """
        collector = _Collector(on_headers, on_record)
        await self._request("POST", path, dumps(body).encode(), headers, collector)
        return collector.result()

    async def _request(
        self, method: str, path: str, body: bytes, headers: dict[str, str], collector: _Collector
    ) -> None:
        fields = {"Host": self.address.netloc, "Accept": "application/json", **headers}
        fields |= self._credentials.headers(self.address.tls)
        if method == "POST":
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self._http.write_headers(
            RequestStartLine(method, path, "HTTP/1.1"), HTTPHeaders(fields), body or None
        )
        self._http.finish()
        await self._http.read_response(collector)
        if collector.error is not None:
            raise collector.error
        if not collector.is_complete:
            raise StreamClosedError(self._stream.error)


class _Collector(HTTPMessageDelegate):
    """Gathers an answer, or hands over a stream's records as they come."""

    def __init__(
        self,
        on_headers: Callable[[Response], None] | None = None,
        on_record: Callable[[bytes], None] | None = None,
    ) -> None:
        self._on_headers, self._on_record = on_headers, on_record
        self._records: RecordDecoder | None = None
        self._response: Response | None = None
        self._body = bytearray()
        self._finished = False
        self.error: Exception | None = None

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, ResponseStartLine)
        self._response = Response(start_line.code, start_line.reason, headers)
        if start_line.code == 200 and self._on_headers is not None:
            self._records = RecordDecoder()
            self._on_headers(self._response)

    def data_received(self, chunk: bytes) -> None:
        if self._records is None:
            self._body += chunk
            return
        assert self._on_record is not None
        try:
            for record in self._records.feed(chunk):
                self._on_record(record)
        except Exception as error:
            self.error = error
            raise HTTPInputError(str(error)) from error

    def finish(self) -> None:
        self._finished = True

    def on_connection_close(self) -> None:
        pass

    @property
    def is_complete(self) -> bool:
        """Whether an answer has come, whole; a stream is whole whenever it ends."""
        return self._response is not None and (self._finished or self._records is not None)

    def result(self) -> Response:
        assert self._response is not None
        self._response.body = bytes(self._body)
        return self._response
