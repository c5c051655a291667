"""A `JobFailed` that is also an instance of the worker's own exception type, so that ``except`` finds it. Pure."""

from __future__ import annotations

import pickle
import types
from concurrent.futures import CancelledError
from typing import Any

from .errors import JobFailed

#: Exceptions that mean something else where results are asked for: an end of an iteration, or of the time to wait, or
#: that somebody here cancelled it.
_OURS = (StopIteration, StopAsyncIteration, TimeoutError, CancelledError, JobFailed)
#: Bases whose fields are not the worker's exception's own.
_COMMON = (BaseException, Exception, object)


class _Both(JobFailed):
    """Keeps the hooks of the worker's exception type from what is made of it here."""

    def __init_subclass__(cls, **_: Any) -> None:
        pass

    def __reduce__(self) -> tuple[object, ...]:
        rebuild, arguments = super().__reduce__()
        cause = self.__cause__
        try:
            pickle.loads(pickle.dumps(cause))
        except Exception:  # whatever it holds: the rest is text
            return rebuild, arguments
        return _rebuild, (cause, *arguments)  # type: ignore[misc]


# A frozen dataclass may be an exception, too.
_Both.__setattr__ = Exception.__setattr__  # type: ignore[method-assign]
_Both.__delattr__ = Exception.__delattr__  # type: ignore[method-assign]


def failed_as(failure: JobFailed, cause: BaseException | None) -> JobFailed:
    """Return `failure` with the worker's exception as its `__cause__`, as an instance of that one's type if it can be.

    `args` and the fields are then the exception's, so that a handler finds what it looks for; ``str()`` tells of the
    job. Types that cannot have a common subclass with `JobFailed` (their memory layout differs), types that refuse
    one, and those that mean something else where results are asked for (`StopIteration`, `TimeoutError`,
    `CancelledError`) leave a plain `JobFailed`; so does what is no `Exception` (`KeyboardInterrupt`).

    Parameters
    ----------
    failure : JobFailed
    cause : BaseException or None
        As it was unpickled.
    """
    if isinstance(cause, Exception) and not isinstance(cause, _OURS):
        try:
            failure = _combined(failure, cause)
        except Exception:  # a class of the user's may do anything when it is subclassed
            pass
    failure.__cause__ = cause
    return failure


def _combined(failure: JobFailed, cause: Exception) -> JobFailed:
    kind = type(cause)
    both: Any = types.new_class(
        "JobFailed", (_Both, kind), {}, lambda namespace: namespace.update(_names(kind))
    )
    error: JobFailed = both.__new__(both, *cause.args)
    for base in kind.__mro__:
        if base not in _COMMON:
            _copy_slots(base, cause, error)
    for fields in (vars(cause), vars(failure)):
        for name, value in fields.items():
            if name != "__notes__":  # the remote traceback has them
                setattr(error, name, value)
    error.args = cause.args
    if isinstance(error, SyntaxError):
        error.msg = str(failure)  # Python prints it instead of str(), below the line that is wrong
    assert type(error) is both and error.headline == failure.headline
    str(error)
    return error


def _names(kind: type) -> dict[str, Any]:
    return {
        "__module__": JobFailed.__module__,
        "__qualname__": JobFailed.__qualname__,
        "__doc__": f"A job failed: a worker raised {kind.__qualname__}.",
    }


def _copy_slots(base: type, source: BaseException, target: BaseException) -> None:
    """Copy what lies in no ``__dict__``: ``OSError.errno``, ``UnicodeError.start``, the user's ``__slots__``."""
    for name, field in vars(base).items():
        if isinstance(field, types.MemberDescriptorType | types.GetSetDescriptorType) and name != "__dict__":
            try:
                field.__set__(target, field.__get__(source, type(source)))
            except (AttributeError, TypeError):
                continue  # it was never set, or cannot be


def _rebuild(cause: Exception, *arguments: Any) -> JobFailed:
    message, job_id, worker_id, traceback, stderr = arguments
    failure = JobFailed(
        message, job_id=job_id, worker_id=worker_id, remote_traceback=traceback, stderr=stderr
    )
    return failed_as(failure, cause)
