"""Futures of a pool's calls: those of `concurrent.futures`, that can be awaited, and end calls that run."""

from __future__ import annotations

import asyncio
import concurrent.futures
import reprlib
import threading
import time
from collections.abc import Generator
from typing import Any, Protocol

from ...model.errors import SubmitError, Twister2Error, WaitInterrupted, WaitTimeout

#: Seconds of one wait, so that an interrupt is noticed everywhere.
LOOK = 1.0
#: Held for a moment by whoever cancels.
_cancelling = threading.Lock()


class Owner(Protocol):
    """The pool of a future, as far as the future needs it."""

    def cancel(self, future: Future) -> None:
        """Nobody wants the call any more."""

    def is_running(self, future: Future) -> bool:
        """Whether the call has begun."""

    def outlook(self) -> str:
        """Return in words what the pool's workers are doing."""

    def is_here(self, future: Future) -> bool:
        """Whether this is the thread that brings the result, which brings none while it waits."""


class Future(concurrent.futures.Future[Any]):
    """The result of a call, when it is there.

    It can be awaited, given to `concurrent.futures.wait`, `as_completed` and to dask and joblib.

    Parameters
    ----------
    owner : Owner
    name : str
        The function's.
    item : object
    index : int or None
    given : (tuple, dict), optional
        The arguments of a call that is none of a `map`.

    Attributes
    ----------
    item : object
        The argument of the call, or a tuple of them; None when it has ended.
    index : int or None
        The item's place among those of its `map`.
    worker_id : int or None
        The worker that ran the call.
    """

    def __init__(
        self,
        owner: Owner,
        name: str,
        item: Any,
        index: int | None,
        given: tuple[tuple[Any, ...], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self._owner = owner
        self._name = name
        self._given = given
        self._is_told = False
        self.item = item
        self.index = index
        self.worker_id: int | None = None
        self.number = -1
        self.pool: Any = None

    @property
    def what(self) -> str:
        """The call, in a few words."""
        if self.index is not None:
            return f"item {self.index} of {self._name}"
        if self._given is None:
            return self._name
        args, kwargs = self._given
        given = [
            *(_short(each) for each in args),
            *(f"{name}={_short(each)}" for name, each in kwargs.items()),
        ]
        return f"{self._name}({_cut(', '.join(given))})"

    @property
    def shown_item(self) -> str:
        """The item, in a few words."""
        return _short(self.item)

    def cancel(self) -> bool:
        """Cancel the call: one that has not begun is not begun; of one that runs, the worker is ended and started anew.

        Returns
        -------
        bool
            Whether it has been cancelled: not one that has ended.
        """
        if not super().cancel():
            return False
        with _cancelling:
            is_first, self._is_told = not self._is_told, True
        if is_first:
            self.set_running_or_notify_cancel()
            self._owner.cancel(self)
        return True

    def running(self) -> bool:
        """Whether the call has begun and not ended, as far as is known."""
        return not self.done() and self._owner.is_running(self)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the call's end and return its result.

        Parameters
        ----------
        timeout : float, optional
            Seconds.

        Raises
        ------
        JobFailed
            When the call raised something: an instance of that exception's own type as well. Also when it could not be
            run at all; the message says why.
        CancelledError
            When it has been cancelled.
        TimeoutError
            When it has not ended in time; it goes on.
        """
        self._await(timeout)
        try:
            return super().result(0)
        except concurrent.futures.CancelledError:
            raise self._cancelled() from None

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the call's end and return what `result` would raise; None if it has a result."""
        self._await(timeout)
        try:
            return super().exception(0)
        except concurrent.futures.CancelledError:
            raise self._cancelled() from None

    def wait_until(self, deadline: float | None, timeout: float | None) -> None:
        """Wait for the call's end.

        Parameters
        ----------
        deadline : float or None
            On the monotonic clock.
        timeout : float or None
            The seconds that this was, for the message.

        Raises
        ------
        TimeoutError
        """
        self._wait(deadline, timeout)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the call's end without blocking the event loop; cancelling the wait does not cancel the call."""
        return asyncio.shield(asyncio.wrap_future(self)).__await__()

    def __repr__(self) -> str:
        if self.cancelled():
            state = "cancelled"
        elif self.done():
            state = "failed" if super().exception(0) is not None else "has a result"
        else:
            state = "runs" if self.running() else "waits"
        return f"<Future: {self.what}, {state}>"

    def __reduce__(self) -> Any:
        raise TypeError("a future stays in the notebook; send its result() instead")

    def outlook(self) -> str:
        """Return in words what the pool's workers are doing."""
        return self._owner.outlook()

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Have the call end, unless it has been cancelled."""
        if error is None:
            self.item = None
            self._given = ((...,), {}) if self._given is not None else None
        try:
            if error is not None:
                self.set_exception(error)
            else:
                self.set_result(value)
        except concurrent.futures.InvalidStateError:
            pass  # it was cancelled at this moment

    def _await(self, timeout: float | None) -> None:
        if not self.done():
            self._wait(None if timeout is None else time.monotonic() + seconds(timeout), timeout)

    def _wait(self, deadline: float | None, timeout: float | None) -> None:
        if not self.done() and self._owner.is_here(self):
            raise Twister2Error(
                f"a callback cannot wait for {self.what}: results come on the thread that it holds up; "
                "give that future a callback of its own"
            )
        try:
            while not self.done():
                left = LOOK if deadline is None else min(LOOK, deadline - time.monotonic())
                if left <= 0:
                    raise WaitTimeout(
                        f"{self.what} has no result after {timeout:g} s: {self._owner.outlook()}"
                    )
                try:
                    super().exception(left)
                except concurrent.futures.TimeoutError:
                    continue
                except concurrent.futures.CancelledError:
                    return
        except WaitInterrupted:
            raise
        except KeyboardInterrupt:
            raise WaitInterrupted(f"you stopped waiting; {self.what} goes on, and cancel() ends it") from None

    def _cancelled(self) -> concurrent.futures.CancelledError:
        return concurrent.futures.CancelledError(f"{self.what} was cancelled")


def seconds(timeout: Any) -> float:
    """Return a timeout.

    Raises
    ------
    SubmitError
        When it is none.
    """
    if isinstance(timeout, bool) or not hasattr(type(timeout), "__float__"):
        raise SubmitError(f"timeout is {timeout!r}; give seconds, or None")
    return float(timeout)


class _Repr(reprlib.Repr):
    """Shows of what is large only a part, and makes no more of it."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = self.maxdeque = 8
        self.maxarray = 8
        self.maxstring = self.maxlong = self.maxother = 80
        self.maxlevel = 3

    def repr1(self, x: Any, level: int) -> str:
        return "..." if x is ... else super().repr1(x, level)


_repr = _Repr()


def _short(value: Any) -> str:
    try:
        return _cut(" ".join(_repr.repr(value).split()))
    except Exception:
        return f"<{type(value).__name__}>"


def _cut(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
