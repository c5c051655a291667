"""The parser of requests: any pieces, and what it refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.localmesos.http import http1


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.integers(1, 50), st.booleans())
def test_http_requests_in_any_pieces(bodies: list[bytes], size: int, chunked: bool) -> None:
    wire = b""
    for body in bodies:
        if chunked:
            wire += b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            wire += (http1.chunk(body) if body else b"") + http1.chunk(b"")
        else:
            wire += b"POST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    parser, found = http1.RequestParser(), []
    for start in range(0, len(wire), size):
        found += parser.feed(wire[start : start + size])
    assert [request.body for request in found] == bodies
    assert parser.idle


@given(st.binary(max_size=300))
def test_http_never_breaks_otherwise_than_by_its_error(data: bytes) -> None:
    try:
        http1.RequestParser().feed(data + b"\r\n\r\n")
    except http1.ProtocolError as error:
        assert error.status in (400, 413)


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"POST / HTTP/1.1\r\nContent-Length: +5",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked",
        b"POST / HTTP/2.0",
        b"nonsense",
        b"GET / HTTP/1.1\r\n folded: x",
    ],
)
def test_http_refuses(head: bytes) -> None:
    with pytest.raises(http1.ProtocolError):
        http1.RequestParser().feed(head + b"\r\n\r\n")


def test_http_refuses_great_bodies() -> None:
    with pytest.raises(http1.ProtocolError) as caught:
        http1.RequestParser().feed(b"POST / HTTP/1.1\r\nContent-Length: 104857601\r\n\r\n")
    assert caught.value.status == 413


def test_http_heads_that_repeat_make_requests_of_their_own() -> None:
    """A head is parsed once, but who changes one request must not change the next."""
    parser = http1.RequestParser()
    wire = b"GET /a%20b?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"
    first, second = parser.feed(wire + wire)
    assert first == second
    assert (second.path, second.query, second.headers) == ("/a b", {"x": "1"}, {"host": "h"})
    first.headers["host"] = first.query["x"] = "changed"
    (third,) = parser.feed(wire)
    assert third == second


def test_http_remembers_few_heads() -> None:
    parser = http1.RequestParser()
    for number in range(10 * http1.REMEMBERED_HEADS):
        (request,) = parser.feed(b"GET /%d HTTP/1.1\r\n\r\n" % number)
        assert request.path == f"/{number}"
    assert len(parser._known) <= http1.REMEMBERED_HEADS
