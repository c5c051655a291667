"""RecordIO in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.localmesos.http.recordio import Decoder, RecordError, encode


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(1, 9), max_size=200))
def test_recordio_in_any_pieces(records: list[bytes], cuts: list[int]) -> None:
    data = b"".join(encode(record) for record in records)
    decoder, found = Decoder(), []
    for cut in [*cuts, len(data) + 1]:
        found += decoder.feed(data[:cut])
        data = data[cut:]
    assert found == records


@given(st.binary(min_size=1, max_size=60))
def test_recordio_refuses_or_waits(data: bytes) -> None:
    decoder = Decoder(max_record=1000)
    try:
        decoder.feed(data)
    except RecordError:
        with pytest.raises(RecordError):
            decoder.feed(b"")
