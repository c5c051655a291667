"""Objects in messages: pickled by value where nobody could import them, as results are."""

from __future__ import annotations

import io
import sys
from typing import Any

from .archive import unpickle
from .pickling import ResultPickler

#: Bytes of a message's object, at the most.
MOST = 32 << 20


def pack(value: Any) -> bytes:
    """Return an object as the bytes of a message; what it raises is pickle's.

    Raises
    ------
    ValueError
        When they are more than `MOST`.
    """
    target = io.BytesIO()
    ResultPickler(target, None).dump(value)
    data = target.getvalue()
    if len(data) > MOST:
        raise ValueError(
            f"a message has {len(data) >> 20} MiB; {MOST >> 20} MiB are the most: send several, or the name of a file"
        )
    return data


def unpack(data: bytes | memoryview) -> Any:
    """Return the object of a message whose origin has been proved; classes that this process has stay as they are."""
    main = sys.modules.get("__main__")
    return unpickle(data, [], vars(main) if main is not None else None)
