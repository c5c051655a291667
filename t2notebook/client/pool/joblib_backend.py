"""joblib's backend: what `Parallel` has to run, and so scikit-learn's ``n_jobs``, runs on a pool's workers."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, ThreadingBackend

from ...model.errors import SubmitError
from ...model.wording import counted
from ...worker.process.shared_arguments import Reference, WithShared
from .executor import Executor
from .functions import Function, Needs, arguments, function_of
from .futures import Future

#: Bytes from which on an argument that several calls have is sent once to each worker.
_LARGE = 1 << 20
#: How many workers there are when nobody says how many.
_WORKERS = 4


class T2notebookBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs joblib's batches of calls on the workers of an `Executor`.

    Parameters
    ----------
    executor : Executor, optional
        Whose workers; by default those of one that is made of the other arguments.
    nesting_level, inner_max_num_threads
        joblib's.
    **options
        As of `Executor`, but for `workers`, which is ``n_jobs``.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(
        self,
        executor: Executor | None = None,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        if executor is not None and options:
            raise SubmitError(f"an executor has its workers already; give {min(options)} to t2.Executor")
        self._given = executor
        self._options = options
        self._executor = executor
        self._futures: weakref.WeakSet[Future] = weakref.WeakSet()
        self._functions: dict[tuple[tuple[int, ...], Needs], tuple[Function, list[Any]]] = {}

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many workers there are to be.

        Raises
        ------
        ValueError
        """
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if self._given is not None:
            return self._given.workers
        if n_jobs is None or n_jobs < 0:
            return int(self._options.get("workers", _WORKERS))
        return n_jobs

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Make the executor."""
        self.parallel = parallel
        workers = self.effective_n_jobs(n_jobs)
        if self._given is None:
            self._executor = Executor(**{**self._options, "workers": workers})
        return workers

    def submit(self, func: Any, callback: Callable[[Any], Any] | None = None) -> Future:
        """Have a batch of calls run."""
        assert self._executor is not None
        batch, shared = _without_large(func)
        name = _name(func)
        pieces, needs = arguments((batch,), {}, name)
        future = self._executor.call(self._function(shared, needs), name, batch, pieces)
        self._futures.add(future)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit  # of joblib before 1.5

    def retrieve_result_callback(self, out: Future) -> Any:
        """Return a batch's results."""
        return out.result()

    def _function(self, shared: dict[int, Any], needs: Needs) -> Function:
        """Return the function that runs batches, with the arguments that they share."""
        key = tuple(sorted(shared)), needs
        if key not in self._functions:
            # The arguments are kept, so that their ids stay theirs.
            self._functions[key] = function_of(WithShared(shared), needs), list(shared.values())
        return self._functions[key][0]

    def stop_call(self) -> None:
        """Forget what the calls shared."""
        self._functions.clear()

    def terminate(self) -> None:
        """Leave the workers to whoever needs them next."""
        self._functions.clear()
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel all batches, also those that run: nobody can ask for their results any more."""
        for future in list(self._futures):
            future.cancel()

    def get_nested_backend(self) -> tuple[Any, None]:
        """Return the backend of calls within calls, on the worker: threads."""
        return ThreadingBackend(nesting_level=(self.nesting_level or 0) + 1), None


def make(**options: Any) -> T2notebookBackend:
    """Return a backend, as ``joblib.parallel_config(backend="t2notebook", ...)`` asks for it."""
    return T2notebookBackend(**options)


def _name(batch: Any) -> str:
    """Return what messages call a batch: ``"a joblib batch of 3 calls of fit"``."""
    function = batch.items[0][0]
    for wrapped in ("function", "func"):  # scikit-learn's wrapper, and a partial
        function = getattr(function, wrapped, function)
    name = getattr(function, "__name__", None) or type(function).__name__
    return f"a joblib batch of {counted(len(batch.items), 'call')} of {name}"


def _without_large(batch: Any) -> tuple[Any, dict[int, Any]]:
    """Return a batch with references in the place of its large arguments, and these."""
    shared: dict[int, Any] = {}

    def replaced(value: Any) -> Any:
        if _size(value) < _LARGE:
            return value
        shared[id(value)] = value
        return Reference(id(value))

    items = []
    for function, args, kwargs in batch.items:
        items.append(
            (function, tuple(map(replaced, args)), {name: replaced(each) for name, each in kwargs.items()})
        )
    if shared:
        twin = object.__new__(type(batch))
        twin.__dict__.update(vars(batch))
        twin.items = items
        return twin, shared
    return batch, shared


def _size(value: Any) -> int:
    """Return the bytes of an array or a frame; 0 of anything else."""
    if isinstance(size := getattr(value, "nbytes", None), int):
        return size
    if callable(usage := getattr(value, "memory_usage", None)):
        try:
            return int(usage().sum())
        except Exception:  # it is something else of that name
            return 0
    if isinstance(size := getattr(getattr(value, "data", None), "nbytes", None), int):
        return size  # a sparse matrix
    return 0
