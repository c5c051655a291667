"""What travels with a status update: small results, which nothing else than their signature speaks for."""

from __future__ import annotations

import base64
import os
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook.protocol.launch import (
    MOST_UNPACKED,
    MOST_WITH_END,
    compressed_result,
    decode_result,
    decode_status_data,
    encode_status_data,
    unpacked_result,
)


@given(st.lists(st.binary(max_size=2000), max_size=4))
def test_what_goes_along_comes_back(pieces: list[bytes]) -> None:
    record = compressed_result([*map(memoryview, pieces)], "5196")
    if record:
        data = encode_status_data(0, result=record, ran=0.01)
        assert unpacked_result(decode_result(data)) == (b"".join(pieces), "5196")
        assert decode_status_data(data) == {"exit_code": 0, "ran": 0.01}, "the journal does not keep it twice"
    else:
        assert sum(map(len, pieces)) > MOST_WITH_END


def test_what_is_large_does_not_go_along() -> None:
    assert compressed_result([bytes(MOST_UNPACKED)], "") and not compressed_result(
        [bytes(MOST_UNPACKED + 1)], ""
    )
    assert not compressed_result([os.urandom(MOST_WITH_END)], "")


@pytest.mark.parametrize(
    "record",
    [
        None,
        "text",
        [],
        {},
        {"data": 7},
        {"data": "%%%", "signature": "5196"},
        {"data": base64.b64encode(b"no zlib").decode()},
        {"data": base64.b64encode(zlib.compress(b"cut short")[:-3]).decode()},
        {"data": base64.b64encode(zlib.compress(bytes(1 << 24))).decode()},
    ],
)
def test_what_is_no_result_is_refused(record: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        unpacked_result(record)


@pytest.mark.parametrize(
    "data", [None, "", "%", base64.b64encode(b"[]").decode(), base64.b64encode(b"{}").decode()]
)
def test_updates_of_others_carry_none(data: str | None) -> None:
    assert decode_result(data) is None and decode_status_data(data) == {}
