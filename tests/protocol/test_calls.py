"""Objects of a pool's calls as bytes, and back."""

from __future__ import annotations

import copyreg
import traceback
import types
from typing import Any

import numpy as np
import pytest

from t2notebook.protocol import calls


def joined(pieces: calls.Pieces) -> bytearray:
    return bytearray().join(bytes(piece) for piece in pieces)


class Local:
    def __init__(self, value: int) -> None:
        self.value = value


@pytest.mark.parametrize(
    "value",
    [None, 1, "text", b"", b"x" * 100_000, [1, [2, {"a": (3,)}]], list(range(100_000)), {"__main__": 1}],
)
def test_there_and_back(value: Any) -> None:
    pieces = calls.pack(value)
    assert calls.size(pieces) == len(joined(pieces)) and calls.size(pieces) % 16 == 0
    assert calls.unpack(joined(pieces)) == value


def test_large_arrays_lie_where_the_bytes_lie_aligned_and_writable() -> None:
    array = np.arange(50_001.0)
    pieces = calls.pack({"a": array, "b": array[:-1].copy(), "small": np.arange(3)})
    assert (
        sum(np.shares_memory(array, np.frombuffer(piece, np.uint8)) for piece in pieces if len(piece) > 9)
        == 1
    )
    data = joined(pieces)
    found = calls.unpack(memoryview(data))
    assert (found["a"] == array).all() and (found["b"] == array[:-1]).all()
    assert found["a"].flags.writeable and found["a"].flags.aligned and found["b"].flags.aligned
    found["a"][0] = 17.0
    assert calls.unpack(data)["a"][0] == 17.0


def test_functions_and_classes_of_the_notebook_travel_by_value() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("class Point:\n    def __init__(self, x): self.x = x\ndef double(v): return 2 * v", namespace)
    found = calls.unpack(joined(calls.pack([namespace["Point"](4), namespace["double"]])))
    assert found[0].x == 4 and found[1](3) == 6
    local = calls.unpack(joined(calls.pack(lambda: Local(1).value)))
    assert local() == 1


@pytest.mark.parametrize("is_taught", [False, True])
def test_tracebacks_stay_at_home(is_taught: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(copyreg.dispatch_table, types.TracebackType, raising=False)
    if is_taught:  # as tblib does, which distributed imports
        monkeypatch.setitem(copyreg.dispatch_table, types.TracebackType, lambda _: (str, ("travelled",)))
    try:
        raise ValueError("x")
    except ValueError as error:
        found = calls.unpack(joined(calls.pack((error, error.__traceback__))))
        assert traceback.format_tb(error.__traceback__)
    assert str(found[0]) == "x" and found[1] is None


def test_parts_are_all_the_bytes_and_none_is_too_large() -> None:
    pieces = [b"abc", b"", b"defghij", memoryview(b"klm")]
    for most in range(1, 15):
        parts = [b"".join(part) for part in calls.parts(pieces, most)]
        assert b"".join(parts) == b"abcdefghijklm"
        assert all(len(part) == most for part in parts[:-1]) and len(parts[-1]) <= most


def test_functions_are_kept_as_long_as_there_is_room() -> None:
    kept: calls.Kept[str] = calls.Kept()
    kept.use(1, "one", 10)
    kept.use(2, "two", calls.MOST_FUNCTION_BYTES + 1)
    assert list(kept) == [2], "one goes, however large"
    kept.use(3, "three", 5)
    assert list(kept) == [3] and kept.size == 5
    kept.use(4, "four", 5)
    kept.use(3, "three", 5)
    assert list(kept) == [4, 3] and kept.size == 10
    kept.clear()
    assert not kept and kept.size == 0
