"""Arguments that many calls share: sent once to each worker, with the function, and put in their places there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reference:
    """The place of an argument that is shared.

    Parameters
    ----------
    key : int
    """

    key: int


class WithShared:
    """Runs joblib's batches of calls.

    Parameters
    ----------
    shared : mapping
        The arguments, by their keys.
    """

    __name__ = "joblib"

    def __init__(self, shared: Mapping[int, Any]) -> None:
        self.shared = dict(shared)

    def __reduce__(self) -> tuple[object, ...]:
        return WithShared, (self.shared,)

    def __call__(self, batch: Any) -> Any:
        """Run a batch; return its results."""
        if self.shared:
            batch.items = [
                (
                    function,
                    tuple(map(self._found, args)),
                    {name: self._found(each) for name, each in kwargs.items()},
                )
                for function, args, kwargs in batch.items
            ]
        return batch()

    def _found(self, value: Any) -> Any:
        return self.shared[value.key] if type(value) is Reference else value
