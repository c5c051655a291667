"""Objects of a pool's calls: pickled by name where both sides have it, by value where not; large buffers beside it.

The bytes of an object are a head (how many buffers, and how long all is), the pickle, and the buffers, each on a border
of 16 bytes. Nothing large is copied: neither into these pieces, nor out of them where they have come.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

from .archive import unpickle
from .frames import ALIGN, Bytes
from .pickling import ResultPickler, is_plain, reduce_plain

_T = TypeVar("_T")
#: Bytes of a buffer from which on it stands beside the pickle.
LARGE = 64 << 10
#: Seconds for which a call that waits on a worker behind another is that worker's, from when that other one began.
LEASE = 0.05
#: How many functions a worker keeps, and bytes of their packages (or one): those that were called last.
MOST_FUNCTIONS, MOST_FUNCTION_BYTES = 64, 128 << 20
_COUNT = struct.Struct("<I")
_SIZE = struct.Struct("<Q")
#: The head of an object without buffers.
_PLAIN = struct.Struct("<IQ")
#: Types of which every value can be pickled by name, and the items of a tuple that are looked at for that.
_PLAIN_TYPES, _PLAIN_LENGTH = frozenset({int, float, bool, str, bytes, type(None)}), 8
#: A pickle that names this is one of something that the other side need not have.
_MAIN = b"__main__"

Pieces = Sequence[Bytes]


class Kept(OrderedDict[int, tuple[_T, int]]):
    """Functions that a worker has, by their numbers, with the bytes of their packages.

    Both sides keep one, and use the same functions in the same order: so the pool knows what each worker has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def use(self, number: int, function: _T, size: int) -> None:
        """Have a function, as the one that was used last; others may have to go.

        Parameters
        ----------
        number : int
        function : object
        size : int
            Bytes of its package.
        """
        if number in self:
            self.move_to_end(number)
            return
        while self and (len(self) >= MOST_FUNCTIONS or self.size + size > MOST_FUNCTION_BYTES):
            self.size -= self.popitem(last=False)[1][1]
        self[number] = function, size
        self.size += size

    def clear(self) -> None:
        """Have none."""
        super().clear()
        self.size = 0


def pack(
    value: Any, by_value: Callable[[Any, Callable[[pickle.PickleBuffer], Any]], bytes] | None = None
) -> Pieces:
    """Return the pieces of an object; what this raises is pickle's.

    Parameters
    ----------
    value : object
    by_value : callable, optional
        ``by_value(value, buffer_callback)`` pickles what cannot go by name; by default as results of jobs are.
    """
    buffers: list[pickle.PickleBuffer] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < LARGE:
            return True
        buffers.append(buffer)
        return False

    if _is_plain(value):
        data = pickle.dumps(value, 5)
    else:
        try:
            data = _by_names(value, keep)
        except Exception:
            data = b""
        if not data or _MAIN in data:
            buffers.clear()
            data = (by_value or _as_results)(value, keep)
    if not buffers and len(data) < LARGE:
        return [_PLAIN.pack(0, len(data)) + data + bytes(-(_PLAIN.size + len(data)) % ALIGN)]
    views: list[Bytes] = [data, *(buffer.raw() for buffer in buffers)]
    sizes = [len(data), *(buffer.raw().nbytes for buffer in buffers)]
    head = _COUNT.pack(len(buffers)) + b"".join(map(_SIZE.pack, sizes))
    pieces: list[Bytes] = [head + bytes(-len(head) % ALIGN)]
    for view, size in zip(views, sizes, strict=True):
        pieces.append(view)
        if padding := -size % ALIGN:
            pieces.append(bytes(padding))
    return pieces


def _is_plain(value: Any, depth: int = 2) -> bool:
    """Whether a value is of a plain type, or the arguments of a call that are: most are, and there are many."""
    if (kind := type(value)) is tuple:
        return (
            depth > 0 and len(value) <= _PLAIN_LENGTH and all([_is_plain(each, depth - 1) for each in value])
        )
    return kind in _PLAIN_TYPES or (kind is dict and not value)


def size(pieces: Pieces) -> int:
    """Return the bytes of some pieces."""
    return sum([piece.nbytes if isinstance(piece, memoryview) else len(piece) for piece in pieces])


def unpack(data: Bytes, main: dict[str, Any] | None = None) -> Any:
    """Return the object of bytes whose origin has been proved; its arrays lie where the bytes lie.

    Parameters
    ----------
    data : bytes-like
    main : dict, optional
        Names that the pickle finds in ``__main__``; by default those of this process.
    """
    view = memoryview(data)
    count, length = _PLAIN.unpack_from(view)
    if count == 0 and length < LARGE:
        pickled, buffers = view[_PLAIN.size : _PLAIN.size + length], []
    else:
        sizes = [_SIZE.unpack_from(view, _COUNT.size + index * _SIZE.size)[0] for index in range(count + 1)]
        begin = _COUNT.size + _SIZE.size * (count + 1)
        begin += -begin % ALIGN
        members = []
        for length in sizes:
            members.append(view[begin : begin + length])
            begin += length + -length % ALIGN
        pickled, buffers = members[0], members[1:]
    if _MAKER not in bytes(pickled):
        return pickle.loads(pickled, buffers=buffers)
    if main is None and (module := sys.modules.get("__main__")) is not None:
        main = vars(module)
    return unpickle(pickled, buffers, main)


#: Where functions that travel by value are made, whose globals have to be found.
_MAKER = b"t2notebook.protocol.reducers"


def _by_names(value: Any, keep: Callable[[pickle.PickleBuffer], Any]) -> bytes:
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, 5, buffer_callback=keep)
    pickler.dispatch_table = _REDUCERS
    pickler.dump(value)
    return stream.getvalue()


class _Reducers(dict[type, Callable[[Any], Any]]):
    """Reducers of what goes by name: those that others registered, but for tracebacks and exceptions."""

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        if issubclass(kind, BaseException) and is_plain(kind):
            return reduce_plain
        return copyreg.dispatch_table[kind]


#: tblib, which distributed imports, would let tracebacks travel.
_REDUCERS = _Reducers({TracebackType: lambda _: (_no_traceback, ())})


class _Pickler(ResultPickler):
    """Leaves tracebacks at home: dask returns them with the exceptions of its tasks."""

    def reducer_override(self, obj: Any) -> Any:
        return (_no_traceback, ()) if type(obj) is TracebackType else super().reducer_override(obj)


def _no_traceback() -> None:
    return None


def _as_results(value: Any, keep: Callable[[pickle.PickleBuffer], Any]) -> bytes:
    target = io.BytesIO()
    _Pickler(target, keep).dump(value)
    return target.getvalue()


def parts(pieces: Pieces, most: int) -> Iterator[list[memoryview]]:
    """Yield the bytes of some pieces in parts, none of more than `most` bytes, without copying them.

    Parameters
    ----------
    pieces : sequence of bytes-like
    most : int
    """
    part: list[memoryview] = []
    left = most
    for piece in pieces:
        view = memoryview(piece).cast("B")
        while view:
            taken = view[:left]
            part.append(taken)
            left -= len(taken)
            view = view[len(taken) :]
            if not left:
                yield part
                part, left = [], most
    if part:
        yield part
