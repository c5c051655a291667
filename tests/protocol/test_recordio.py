from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.protocol.recordio import EventDecoder, FramingError, RecordDecoder

RECORDS = st.lists(st.binary(min_size=1, max_size=300), max_size=8)
#: Bytes that matter to the framing are frequent.
NOISE = st.binary(max_size=60) | st.text("0123456789abcdef\r\n;{}", max_size=60).map(str.encode)


def recordio(records: list[bytes]) -> bytes:
    return b"".join(b"%d\n%s" % (len(record), record) for record in records)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


CUTS = st.lists(st.integers(0, 10_000), max_size=40)


@given(RECORDS, CUTS, CUTS)
def test_records_come_out_however_chunks_and_reads_are_cut(
    records: list[bytes], chunk_cuts: list[int], read_cuts: list[int]
) -> None:
    chunks = [piece for piece in split(recordio(records), chunk_cuts) if piece]
    stream = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in chunks) + b"0\r\n\r\n"
    decoder = EventDecoder()
    out = [record for piece in split(stream, read_cuts) for record in decoder.feed(piece)]
    assert out == records
    assert decoder.ended


@given(RECORDS)
def test_byte_by_byte_without_chunks(records: list[bytes]) -> None:
    decoder = EventDecoder(chunked=False)
    out = []
    for byte in recordio(records):
        out += decoder.feed(bytes([byte]))
    assert out == records
    assert not decoder.ended


@given(st.lists(NOISE, max_size=10))
def test_noise_gives_records_or_a_framing_error(pieces: list[bytes]) -> None:
    decoder = EventDecoder()
    try:
        for piece in pieces:
            decoder.feed(piece)
    except FramingError:
        pass


@pytest.mark.parametrize("length", [b"0", b"-3", b"+3", b"3_0", b" 3", b"0x3", b"", b"abc", b"9" * 20])
def test_a_length_is_plain_digits(length: bytes) -> None:
    with pytest.raises(FramingError):
        RecordDecoder().feed(length + b"\nabc")


def test_lines_that_do_not_end() -> None:
    with pytest.raises(FramingError):
        EventDecoder().feed(b"1" * 5000)
    with pytest.raises(FramingError):
        RecordDecoder().feed(b"1" * 5000)


def test_chunk_extensions_are_ignored() -> None:
    assert EventDecoder().feed(b"4;name=value\r\n2\nab\r\n") == [b"ab"]


def test_a_real_agents_bytes() -> None:
    # As a Mesos 1.12 agent sent them: three records, three chunks, one read.
    events = [{"type": "KILL", "kill": {"task_id": {"value": "x2"}}}, {"type": "SHUTDOWN"}]
    stream = (
        b'34\r\n49\n{"type":"KILL","kill":{"task_id":{"value":"x2"}}}\r\n16\r\n19\n{"type":"SHUTDOWN"}\r\n'
    )
    assert [json.loads(record) for record in EventDecoder().feed(stream)] == events
