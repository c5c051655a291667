"""Calls on one connection, one after the other without a wait for the answers, which come in the same order (RFC 9112,
section 9.3.2): as Mesos's own scheduler library sends them.
"""

from __future__ import annotations

import select
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPInputError, parse_response_start_line
from tornado.iostream import IOStream, StreamClosedError

from ..model.text import dumps
from .credentials import Credentials
from .transport import Address, Response, open_stream

#: Bytes of an answer's head, and of its body, at the most: it says little more than whether a call was taken.
MAX_HEAD, MAX_BODY = 64 << 10, 16 << 20


class Pipeline:
    """One TCP connection to a master, for calls.

    `send` and `read_answer` may be used at the same time. `close` may be called at any time, by anyone: what runs then
    ends with `StreamClosedError`.

    Parameters
    ----------
    stream : IOStream
    address : Address
        The master.
    path : str
        What the calls are posted to.
    headers : dict
        What each of them has.
    """

    def __init__(self, stream: IOStream, address: Address, path: str, headers: dict[str, str]) -> None:
        self._stream = stream
        self._last_head, self._last_answer = b"", (0, "", HTTPHeaders())
        fields = HTTPHeaders(
            {
                "Host": address.netloc,
                "Accept": "application/json",
                "Content-Type": "application/json",
                **headers,
            }
        )
        lines = [f"{name}: {value}" for name, value in fields.get_all()]
        self._head = "\r\n".join([f"POST {path} HTTP/1.1", *lines, "Content-Length: "]).encode("latin-1")

    @classmethod
    async def open(
        cls, address: Address, credentials: Credentials, path: str, headers: dict[str, str]
    ) -> Pipeline:
        """Connect, with TLS where the address has it.

        Parameters
        ----------
        address : Address
        credentials : Credentials
        path : str
        headers : dict
            Beside those of the credentials.

        Raises
        ------
        OSError
            Also for a host that does not resolve, and for a time-out.
        StreamClosedError
            When TLS does not come about; its `real_error` says why.
        """
        stream = await open_stream(address, credentials)
        return cls(stream, address, path, headers | credentials.headers(address.tls))

    @property
    def closed(self) -> bool:
        """Whether either side has closed it, as far as that has been noticed."""
        return self._stream.closed()

    @property
    def has_ended(self) -> bool:
        """Whether it is closed, or the other side's end is here and has not been read: between answers nothing else
        comes.
        """
        if self._stream.closed():
            return True
        poll = select.poll()
        poll.register(self._stream.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close it."""
        self._stream.close()

    def encode(self, call: Any) -> bytes:
        """Return the request that a JSON-ready call is."""
        body = dumps(call).encode()
        return b"%b%d\r\n\r\n%b" % (self._head, len(body), body)

    def send(self, requests: bytes) -> None:
        """Send requests, as `encode` gives them.

        Raises
        ------
        StreamClosedError
        """
        future = self._stream.write(requests)
        future.add_done_callback(lambda done: done.exception())  # who reads the answers hears of it

    async def read_answer(self) -> Response:
        """Wait for the next answer, and return it.

        Raises
        ------
        StreamClosedError, OSError
        HTTPInputError
            When that is no HTTP.
        """
        code, reason, headers = await self._read_head()
        while 100 <= code < 200:
            code, reason, headers = await self._read_head()
        body = b"" if code in (204, 304) else await self._read_body(headers)
        if headers.get("Connection", "").lower() == "close":
            self._stream.close()
        return Response(code, reason, headers, body)

    async def _read_head(self) -> tuple[int, str, HTTPHeaders]:
        head = await self._stream.read_until(b"\r\n\r\n", max_bytes=MAX_HEAD)
        if head != self._last_head:  # most answers differ in nothing from the one before
            start, _, lines = head.decode("latin-1").partition("\r\n")
            line = parse_response_start_line(start)
            self._last_answer = line.code, line.reason, HTTPHeaders.parse(lines)
            self._last_head = head
        return self._last_answer

    async def _read_body(self, headers: HTTPHeaders) -> bytes:
        if "chunked" in headers.get("Transfer-Encoding", "").lower():
            return await self._read_chunks()
        length = headers.get("Content-Length", "")
        if not length:
            return await self._stream.read_until_close()
        if not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY:
            raise HTTPInputError(f"an answer of {length[:40]!r} bytes")
        return await self._stream.read_bytes(int(length)) if int(length) else b""

    async def _read_chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = await self._stream.read_until(b"\r\n", max_bytes=1024)
            try:
                length = int(line.partition(b";")[0].strip(), 16)
            except ValueError:
                raise HTTPInputError(f"no length of a chunk: {line[:40]!r}") from None
            if not 0 <= length <= MAX_BODY - len(body):
                raise HTTPInputError(f"an answer of more than {MAX_BODY} bytes")
            if not length:
                break
            body += await self._stream.read_bytes(length)
            await self._stream.read_until(b"\r\n", max_bytes=2)
        while await self._stream.read_until(b"\r\n", max_bytes=MAX_HEAD) != b"\r\n":
            pass  # a trailer
        return bytes(body)


__all__ = ["Pipeline", "StreamClosedError"]
