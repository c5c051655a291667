"""Workers of a job as plain tuples, for a process that is somebody else's: a full collection of cyclic garbage stops a
kernel for as long as all its objects take, and comes the sooner the more there are. Plain tuples of plain values are
none of the collector's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, MutableSequence
from dataclasses import fields
from itertools import compress
from operator import attrgetter, itemgetter
from typing import Any, overload

from .states import TaskState
from .use import Use
from .worker_view import WorkerView

_NAMES = tuple(field.name for field in fields(WorkerView))
_WIDTH, _STATE, _USE = len(_NAMES), _NAMES.index("state"), _NAMES.index("use")
#: The state as plain text: an enumeration's member would be an object that the collector looks at.
_row_of = attrgetter(*("state._value_" if name == "state" else name for name in _NAMES))
_figures_of = attrgetter(*(field.name for field in fields(Use)))
#: Workers that are counted at a time.
_PART = 5000
_STATES = {state.value: state for state in TaskState}


def _pack(worker: WorkerView) -> tuple[Any, ...]:
    row: tuple[Any, ...] = _row_of(worker)
    # The figures at the end: a tuple within a tuple is looked at once more.
    return row if worker.use is None else (*row[:_USE], None, *row[_USE + 1 :], *_figures_of(worker.use))


def _unpack(row: tuple[Any, ...]) -> WorkerView:
    worker = WorkerView(*row[:_WIDTH])
    worker.state = _STATES[row[_STATE]]
    if len(row) > _WIDTH:
        worker.use = Use(*row[_WIDTH:])
    return worker


class PackedWorkers(MutableSequence[WorkerView]):
    """A sequence of workers that hands out copies: what is changed has to be stored again.

    Parameters
    ----------
    workers : iterable of WorkerView
    """

    def __init__(self, workers: Iterable[WorkerView] = ()) -> None:
        self._rows: list[tuple[Any, ...]] = [_pack(worker) for worker in workers]

    def __copy__(self) -> PackedWorkers:
        twin = PackedWorkers()
        twin._rows = self._rows.copy()
        return twin

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> WorkerView: ...
    @overload
    def __getitem__(self, index: slice) -> PackedWorkers: ...
    def __getitem__(self, index: int | slice) -> WorkerView | PackedWorkers:
        if isinstance(index, int):
            return _unpack(self._rows[index])
        part = PackedWorkers()
        part._rows = self._rows[index]
        return part

    @overload
    def __setitem__(self, index: int, value: WorkerView) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[WorkerView]) -> None: ...
    def __setitem__(self, index: int | slice, value: WorkerView | Iterable[WorkerView]) -> None:
        if isinstance(value, WorkerView):
            assert isinstance(index, int)
            self._rows[index] = _pack(value)
        else:
            assert isinstance(index, slice)
            self._rows[index] = [_pack(worker) for worker in value]

    def __delitem__(self, index: int | slice) -> None:
        del self._rows[index]

    def tally(self, *names: str) -> Counter[Any]:
        """Count the workers by the values of two fields or more, an enumeration's by its value."""
        pick = itemgetter(*(_NAMES.index(name) for name in names))
        counts: Counter[Any] = Counter()
        # In parts: one call into C lets no other thread run, however long it takes.
        for start in range(0, len(self._rows), _PART):
            counts.update(map(pick, self._rows[start : start + _PART]))
        return counts

    def having(self, name: str) -> list[int]:
        """Return the ids of the workers whose field of that name is not empty."""
        values = map(itemgetter(_NAMES.index(name)), self._rows)
        return list(compress(range(len(self._rows)), values))

    def insert(self, index: int, value: WorkerView) -> None:
        """Insert a worker before an index."""
        self._rows.insert(index, _pack(value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PackedWorkers) and self._rows == other._rows
