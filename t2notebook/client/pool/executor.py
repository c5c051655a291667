"""`Executor` and `map`: calls on the workers of a pool, which is shared, kept a while, and made anew when needed."""

from __future__ import annotations

import atexit
import concurrent.futures
import difflib
import hashlib
import inspect
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...config import get_config
from ...model.errors import SubmitError
from ...model.job import ComputeResource
from ...model.wording import counted, type_of
from ...protocol import calls
from ...worker.process import pool as worker_pool
from .. import setups, surroundings
from ..submission import submit
from .completion import FutureStream, still_going
from .functions import Function, arguments, function_of
from .futures import Future, seconds
from .mapping import Mapped, results_of
from .pool import Left, Pool, PoolEnded

#: How often one worker of a pool is started again: calls end workers, too.
_RESTARTS = 100
#: Seconds that pools have to end when the kernel exits.
_EXIT_PATIENCE = 3.0

_pools: dict[tuple[Any, ...], Pool] = {}
_lock = threading.Lock()


class Executor(concurrent.futures.Executor):
    """Calls functions on workers on Mesos; a `concurrent.futures.Executor`.

    The workers are those of a job of this notebook's, a pool. Executors that ask for the same share it, and the next
    one finds it again for ``pool_linger`` seconds (`configure`) after its last call; then it ends, and the next call
    starts another. It starts calls with the workers that are there, and does not wait for all of them.

    A call runs once. Only if its worker is lost while it runs, or falls silent, it is run again on another one, so it
    may then have run twice, in part or whole (at least once).

    Parameters
    ----------
    workers : int
        How many workers.
    cpu, ram_mega_bytes : float
        For each worker: cpus, MiB of memory.
    retries : int
        How often a call that raised is tried again, by default.
    **options
        More of what `submit` takes, such as `ram`, `nodes`, `where`, `gpus`, `setenv`, `preload`.

    Raises
    ------
    SubmitError
        When something cannot be.
    """

    def __init__(
        self,
        workers: int = 4,
        cpu: float = ComputeResource.cpu,
        ram_mega_bytes: float = ComputeResource.ram_mega_bytes,
        *,
        retries: int = 0,
        **options: Any,
    ) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise SubmitError(f"workers is {workers!r}; give a whole number from 1")
        if refused := sorted(set(options) & _NOT_FOR_POOLS | set(options) - _OPTIONS):
            raise SubmitError(f"a pool takes no {refused[0]}{_hint(refused[0])}")
        self._options = {"workers": workers, "cpu": cpu, "ram_mega_bytes": ram_mega_bytes, **options}
        self._retries = _whole("retries", retries)
        self._pool: Pool | None = None
        self._futures: weakref.WeakSet[Future] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._is_shut_down = False
        #: What dask and others read of an executor.
        self._max_workers = workers

    @property
    def job(self) -> Any:
        """The job whose workers run the calls; None before the first call."""
        return None if self._pool is None else self._pool.job

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Have ``fn(*args, **kwargs)`` called on a worker.

        Parameters
        ----------
        fn : callable
            It travels with the variables of the notebook that it uses, as they are now.
        *args, **kwargs
            They are pickled now as well.

        Returns
        -------
        Future
            At once.

        Raises
        ------
        SubmitError
            When `fn` or an argument cannot travel; nothing is called.
        RuntimeError
            When the executor has been shut down.
        """
        self._check()
        function = function_of(fn)
        pieces, needs = arguments(args, kwargs, function.name)
        if not function.has(needs):
            function = function_of(fn, needs)
        item = args[0] if len(args) == 1 and not kwargs else (args, kwargs) if kwargs else args
        future = Future(self, function.name, item, None, (args, kwargs))
        self._hand_over(function, [(future, pieces)], self._retries)
        return future

    def call(self, function: Function, name: str, item: Any, pieces: calls.Pieces) -> Future:
        """Have a function called that has been packed before.

        Parameters
        ----------
        function : Function
        name : str
            For messages.
        item : object
        pieces : sequence of bytes-like
            It, packed as the arguments.
        """
        self._check()
        future = Future(self, name, item, None)
        self._hand_over(function, [(future, pieces)], self._retries)
        return future

    @property
    def workers(self) -> int:
        """Number of workers that it asks for."""
        return self._max_workers

    def futures(self, fn: Callable[..., Any], *items: Iterable[Any], retries: int | None = None) -> Any:
        """Have `fn` called with each item, as `t2notebook.map` does.

        Parameters
        ----------
        fn : callable
        *items : iterable
            Of several, `fn` is called with one of each.
        retries : int, optional
            How often a call that raised is tried again.

        Returns
        -------
        list of Future, or FutureStream
            A stream for what has no length.

        Raises
        ------
        SubmitError
            When there are no items, or something of them cannot travel.
        """
        self._check()
        if not items:
            raise SubmitError("there are no items: map(fn, items)")
        for each in items:
            if not hasattr(type(each), "__iter__") and not hasattr(type(each), "__getitem__"):
                raise SubmitError(
                    f"the items are {type_of(each)}; give a list, or something else to iterate over"
                )
        tries = self._retries if retries is None else _whole("retries", retries)
        made = Mapped(self, fn, lambda function, given: self._hand_over(function, given, tries))
        try:
            min(len(each) for each in items)  # type: ignore[arg-type]
        except TypeError:
            return FutureStream(zip(*items, strict=False), made.one, self._room)
        return made.all(zip(*items, strict=False))

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Call `fn` with each item, and yield the results in the order of the items.

        Parameters
        ----------
        fn : callable
        *iterables : iterable
            What has no length is read as workers need it.
        timeout : float, optional
            Seconds for all of them, from now.
        chunksize, buffersize : int
            Are not needed: how many calls are sent at once follows from what they cost.

        Raises
        ------
        TimeoutError
            While iterating, when a result is not there in time.
        """
        deadline = None if timeout is None else time.monotonic() + seconds(timeout)
        return results_of(self.futures(fn, *iterables), deadline, timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls.

        Parameters
        ----------
        wait : bool
            Return only when all calls have ended.
        cancel_futures : bool
            Cancel those that have not begun.
        """
        with self._guard:
            self._is_shut_down = True
        if cancel_futures:
            for future in list(self._futures):
                if not future.running():
                    future.cancel()
        if wait:
            try:
                concurrent.futures.wait(list(self._futures))
            except KeyboardInterrupt:
                left = sum(not future.done() for future in list(self._futures))
                raise still_going(left) from None

    def __repr__(self) -> str:
        job = f", job {self._pool.job.job_id}" if self._pool is not None else ""
        return f"<Executor: {self._max_workers} workers{job}>"

    def __reduce__(self) -> Any:
        raise TypeError("an executor stays in the notebook; workers cannot submit calls")

    # What its futures ask.

    def cancel(self, future: Future) -> None:
        """Nobody wants a call any more."""
        if future.pool is not None:
            future.pool.cancel(future)

    def is_running(self, future: Future) -> bool:
        """Whether a call has begun."""
        return future.pool is not None and future.pool.is_running(future)

    def is_here(self, future: Future) -> bool:
        """Whether this is the thread that brings the result, which brings none while it waits."""
        return future.pool is not None and bool(future.pool.is_here)

    def outlook(self) -> str:
        """Return in words what the workers are doing."""
        return "nothing has been submitted" if self._pool is None else self._pool.outlook()

    # Inside.

    def _check(self) -> None:
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _room(self, held: int) -> int:
        return self._acquire().room(held)

    def _acquire(self) -> Pool:
        pool = self._pool
        if pool is None or not pool.is_open:
            with self._guard:
                pool = self._pool = acquire(self._options)
        return pool

    def _hand_over(
        self, function: Function, given: Sequence[tuple[Future, calls.Pieces]], retries: int
    ) -> None:
        while True:
            pool = self._acquire()
            for future, _ in given:
                future.pool = pool
                self._futures.add(future)
            try:
                pool.enqueue(function, given, retries)
                return
            except PoolEnded:
                continue  # it had nothing to do until now


def map(
    fn: Callable[..., Any],
    *items: Iterable[Any],
    workers: int = 4,
    cpu: float = ComputeResource.cpu,
    ram_mega_bytes: float = ComputeResource.ram_mega_bytes,
    retries: int = 0,
    executor: Executor | None = None,
    **options: Any,
) -> Any:
    """Call a function with each item, on workers on Mesos, and return futures.

    The workers are a pool's (`Executor`), which the next call finds again for a while.

    Parameters
    ----------
    fn : callable
        ``fn(item)``; it travels with the variables of the notebook that it uses, as they are now.
    *items : iterable
        Of several, `fn` is called with one of each. What has no length (a generator) is read only as workers need it.
    workers : int
        How many workers.
    cpu, ram_mega_bytes : float
        For each worker: cpus, MiB of memory.
    retries : int
        How often an item whose call raised is tried again.
    executor : Executor, optional
        Its workers, instead of those that the other arguments describe.
    **options
        More of what `submit` takes, such as `ram`, `nodes`, `where`, `gpus`, `setenv`, `preload`.

    Returns
    -------
    list of Future, or FutureStream
        In the order of the items. ``future.result()`` waits for one, `as_completed` gives them as they end.

    Raises
    ------
    SubmitError
        When `fn` or an item cannot travel.
    """
    if executor is None:
        executor = Executor(workers, cpu, ram_mega_bytes, **options)
    elif not isinstance(executor, Executor):
        raise SubmitError(f"executor is {type_of(executor)}; give a t2.Executor")
    elif options:
        raise SubmitError(f"an executor has its workers already; give {min(options)} to t2.Executor")
    return executor.futures(fn, *items, retries=retries or None)


def _hint(name: str) -> str:
    """Return what to do about an argument that a pool does not take."""
    if name in _NEEDLESS:
        return f": {_NEEDLESS[name]}"
    known = _OPTIONS - _NOT_FOR_POOLS | {"workers", "retries", "executor"}
    close = [] if name in _OPTIONS else difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


#: What other libraries' `map` takes.
_NEEDLESS = {
    "chunksize": "how many calls are sent at once follows from what they cost",
    "timeout": "give it to result() or t2.as_completed",
}
_NOT_FOR_POOLS = frozenset(
    {
        "arguments",
        "config",
        "debug",
        "discovery",
        "failure_timeout",
        "files",
        "gang",
        "gang_timeout",
        "job",
        "job_master",
        "keep_going",
        "max_reexecutes",
        "on_exit",
        "persistent_volume",
        "replace",
        "scalable",
        "time_limit",
    }
)
_OPTIONS = frozenset(inspect.signature(submit).parameters)


def acquire(options: Mapping[str, Any]) -> Pool:
    """Return the pool of some options, made anew if there is none that takes calls.

    Parameters
    ----------
    options : mapping
        Of `submit`.
    """
    key = _key(options)
    with _lock:
        pool = _pools.get(key)
        if pool is None or not pool.is_open:
            for other in [other for other, each in _pools.items() if not each.is_open]:
                del _pools[other]
            pool = _pools[key] = _make(options)
    return pool


def _make(options: Mapping[str, Any]) -> Pool:
    given = {"name": "pool", "max_worker_restarts": _RESTARTS, **options}
    job = submit(worker_pool.serve, keep_going=True, on_exit="kill", **given)
    # Before what the link to the session does at the exit, which would say that it kills an unfinished job.
    atexit.unregister(end_pools)
    atexit.register(end_pools)

    def succeed(left: list[Left]) -> None:
        for function, given, tries in left:
            while True:
                pool = acquire(options)
                for future, _ in given:
                    future.pool = pool
                try:
                    pool.enqueue(function, given, tries)
                    break
                except PoolEnded:
                    continue

    return Pool(job, get_config().pool_linger, succeed)


def _key(options: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return all by which pools differ: what was asked for, the master, the setup, the environment."""
    settings = get_config()
    is_here = surroundings.is_embedded(settings)
    return (
        tuple(sorted((name, repr(value)) for name, value in options.items())),
        settings.session_key,
        settings.pool_linger,
        _setup(),
        surroundings.module_path() if is_here else (),
        tuple(sorted(surroundings.variables().items())) if is_here else (),
        tuple(os.environ.get(name) for name in _names(options.get("setenv", ()))),
    )


def _names(given: Any) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _setup() -> str:
    """Return what tells the notebook's setup from others; empty if there is none."""
    if (first := setups.current()) is None:
        return ""
    from ...package import pickling

    sink, _ = pickling.pickle_job(first.make(), {})
    state = hashlib.sha256(sink.pickled)
    for buffer in sink.buffers:
        state.update(buffer.raw())
    return state.hexdigest()


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SubmitError(f"{name} is {value!r}; give a whole number from 0")
    return value


def end_pools() -> None:
    """Let all pools of this kernel end."""
    pools = [pool for pool in _pools.values() if pool.is_open]
    unfinished = sum(pool.end() for pool in pools)
    if unfinished:
        print(
            f"t2notebook: {counted(unfinished, 'call')} had not ended, and will not; result() and t2.as_completed wait "
            "for the ends of calls",
            file=sys.__stderr__ or sys.stderr,  # what a kernel prints as it ends is sent to nobody any more
            flush=True,
        )
    deadline = time.monotonic() + _EXIT_PATIENCE
    for pool in pools:
        pool.join(max(0.0, deadline - time.monotonic()))


def _begin_anew() -> None:
    """Have a process that was forked make pools of its own."""
    global _lock
    _lock = threading.Lock()
    for pool in _pools.values():
        pool.leave_to_parent()
    _pools.clear()


os.register_at_fork(after_in_child=_begin_anew)
