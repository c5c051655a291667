"""HTTP/1.1 on the server's side, without I/O: bytes in, requests out; responses to bytes, as libprocess writes them.

The parser is our own because of its speed: h11 takes 5 to 20 times the processor time for a request, and the master
of a large cluster does little else than answer them (figures: `docs/embedded-mesos.md`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

MAX_BODY = 100 * 1024 * 1024
MAX_HEAD = 64 * 1024
GZIP_FROM = 1024
REMEMBERED_HEADS, REMEMBERED_HEAD = 16, 2048
"""Heads of a connection that are remembered, and the bytes that one of them may have."""

REASONS = {
    200: "OK",
    202: "Accepted",
    307: "Temporary Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    411: "Length Required",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class ProtocolError(ValueError):
    """The bytes are not HTTP that can be answered; the connection is of no more use."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Request:
    """One request, whole.

    Attributes
    ----------
    path
        Unquoted, without the query.
    query
        The first value of every name.
    headers
        By lower-case name; of several of one name, joined by a comma.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    version: str

    @property
    def keep_alive(self) -> bool:
        """Tell whether the client wants to use the connection again."""
        connection = self.headers.get("connection", "").lower()
        return "keep-alive" in connection if self.version == "HTTP/1.0" else "close" not in connection


@dataclass(frozen=True)
class Response:
    """One answer with its body at once.

    Attributes
    ----------
    headers
        In order, after Date and before Content-Length.
    late_headers
        After Content-Length (where libprocess puts the Content-Type of its older endpoints).
    length_first
        Content-Length before Date, as in libprocess's downloads.
    """

    status: int = 200
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    late_headers: Sequence[tuple[str, str]] = ()
    gzip: bool = True
    length_first: bool = False


def text(status: int, message: str) -> Response:
    """Give an error as Mesos does: plain text."""
    return Response(status, message.encode(), [("Content-Type", TEXT)])


def not_found() -> Response:
    """Give what libprocess says about a path that it does not have."""
    return text(404, "404 Not Found.")


def method_not_allowed(expected: str, received: str) -> Response:
    """Give what libprocess says about another method than those expected ("GET, PUT")."""
    quoted = ", ".join(f"'{one}'" for one in expected.split(", "))
    message = f"405 Method Not Allowed. Expecting one of {{ {quoted} }}, but received '{received}'."
    return Response(405, message.encode(), [("Allow", expected), ("Content-Type", TEXT)])


_date: tuple[int, str] = (0, "")


def _http_date() -> str:
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now)))
    return _date[1]


def render(response: Response, request: Request) -> bytes:
    """Write a response. HEAD gets a body, too: libprocess does not know the difference."""
    body, encoding = response.body, ""
    large = response.gzip and len(body) >= GZIP_FROM and response.status == 200
    if large and accepts_gzip(request.headers.get("accept-encoding", "")):
        import gzip

        body = gzip.compress(body, compresslevel=1, mtime=0)
        encoding = "Content-Encoding: gzip\r\n"
    start = f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Unknown')}\r\n{encoding}"
    date, length = f"Date: {_http_date()}\r\n", f"Content-Length: {len(body)}\r\n"
    headers = "".join([f"{name}: {value}\r\n" for name, value in response.headers])
    late = "".join([f"{name}: {value}\r\n" for name, value in response.late_headers])
    middle = f"{length}{date}{headers}" if response.length_first else f"{date}{headers}{length}"
    return f"{start}{middle}{late}\r\n".encode("latin-1", "replace") + body


def render_stream_head(headers: Sequence[tuple[str, str]]) -> bytes:
    """Write the head of an endless answer."""
    lines = ["HTTP/1.1 200 OK", f"Date: {_http_date()}", "Transfer-Encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Write one chunk; an empty one ends the stream."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def accepts_gzip(header: str) -> bool:
    """Tell whether an Accept-Encoding allows gzip."""
    return _quality(header, "gzip") > 0


def accepts(header: str | None, media: str) -> bool:
    """Tell whether an Accept header allows a media type; an absent one allows all, an empty one nothing."""
    if header is None:
        return True
    return _quality(header, media, media.split("/", maxsplit=1)[0] + "/*", "*/*") > 0


def _quality(header: str, *names: str) -> float:
    best = 0.0
    for part in header.split(","):
        name, *parameters = [piece.strip().lower() for piece in part.split(";")]
        if name in names:
            quality = 1.0
            for parameter in parameters:
                if parameter.startswith("q="):
                    try:
                        quality = float(parameter[2:])
                    except ValueError:
                        quality = 0.0
            best = max(best, quality)
    return best


@dataclass(frozen=True)
class _Head:
    """A request without its body, and how the body comes: in chunks, or with this length."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    version: str
    length: int
    chunked: bool


class RequestParser:
    """Takes a connection's bytes and gives whole requests."""

    def __init__(self, max_body: int = MAX_BODY) -> None:
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._known: dict[bytes, _Head] = {}
        self._chunks = bytearray()
        self._chunk_left = -1
        self._in_trailer = False
        self._max_body = max_body

    def feed(self, data: bytes) -> list[Request]:
        """Add bytes; give the requests that became complete.

        Raises
        ------
        ProtocolError
            With the status to answer before closing.
        """
        self._buffer += data
        requests: list[Request] = []
        while True:
            if self._head is None and not self._read_head():
                return requests
            head = self._head
            assert head is not None
            body = self._read_chunks() if head.chunked else self._read_length(head.length)
            if body is None:
                return requests
            # The headers are a dict of the request's own: its head may be that of the next, too.
            query, headers = dict(head.query), dict(head.headers)
            requests.append(Request(head.method, head.path, query, headers, body, head.version))
            self._head = None

    @property
    def idle(self) -> bool:
        """Tell whether no request is half received."""
        return self._head is None and not self._buffer

    def rest(self) -> bytes:
        """Give (and forget) the bytes behind the last request, for a protocol that takes over."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _read_head(self) -> bool:
        while self._buffer[:2] == b"\r\n":
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise ProtocolError(400, "Request head is too long")
            return False
        if end > MAX_HEAD:
            raise ProtocolError(400, "Request head is too long")
        raw = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        # A client repeats itself: most of its heads differ in nothing but the length, and many not even in that.
        head = self._known.get(raw)
        if head is None:
            head = _parse_head(raw)
            if head.length > self._max_body:
                raise ProtocolError(413, f"Request body is greater than {self._max_body} bytes")
            if len(raw) < REMEMBERED_HEAD:
                if len(self._known) >= REMEMBERED_HEADS:
                    self._known.clear()
                self._known[raw] = head
        self._head = head
        return True

    def _read_length(self, length: int) -> bytes | None:
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _read_chunks(self) -> bytes | None:
        while True:
            if self._in_trailer:
                end = self._buffer.find(b"\r\n")
                if end < 0:
                    self._check_waiting(MAX_HEAD)
                    return None
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                if not line:
                    self._in_trailer = False
                    body = bytes(self._chunks)
                    self._chunks.clear()
                    return body
            elif self._chunk_left < 0:
                end = self._buffer.find(b"\r\n")
                if end < 0:
                    self._check_waiting(256)
                    return None
                size = bytes(self._buffer[:end]).split(b";", 1)[0].strip()
                del self._buffer[: end + 2]
                if not size or len(size) > 15 or size.strip(b"0123456789abcdefABCDEF"):
                    raise ProtocolError(400, "Malformed chunk size")
                length = int(size, 16)
                if len(self._chunks) + length > self._max_body:
                    raise ProtocolError(413, f"Request body is greater than {self._max_body} bytes")
                if length == 0:
                    self._in_trailer = True
                else:
                    self._chunk_left = length
            else:
                if len(self._buffer) < self._chunk_left + 2:
                    return None
                if self._buffer[self._chunk_left : self._chunk_left + 2] != b"\r\n":
                    raise ProtocolError(400, "Malformed chunk")
                self._chunks += self._buffer[: self._chunk_left]
                del self._buffer[: self._chunk_left + 2]
                self._chunk_left = -1

    def _check_waiting(self, limit: int) -> None:
        if len(self._buffer) > limit:
            raise ProtocolError(400, "Malformed chunk")


def _parse_head(raw: bytes) -> _Head:
    lines = raw.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.0", "HTTP/1.1") or not parts[0].isalpha():
        raise ProtocolError(400, "Malformed request line")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or "\0" in line:
            raise ProtocolError(400, "Malformed header")
        key, value = name.lower(), value.strip()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    length, chunked = 0, "transfer-encoding" in headers
    if chunked:
        # A request with both is how requests are smuggled; nobody honest sends it.
        if headers["transfer-encoding"].lower() != "chunked" or "content-length" in headers:
            raise ProtocolError(400, "Unsupported Transfer-Encoding")
    elif "content-length" in headers:
        value = headers["content-length"]
        if not value.isascii() or not value.isdigit() or len(value) > 18:
            raise ProtocolError(400, "Malformed Content-Length")
        length = int(value)
    target = parts[1]
    if "://" in target.split("?", 1)[0]:
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    path, _, query = target.partition("?")
    fields: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        fields.setdefault(name, value)
    return _Head(parts[0], unquote(path), fields, headers, parts[2], length, chunked)
