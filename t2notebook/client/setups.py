"""The notebook's setup: a function that runs first in every worker of its later jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..model.errors import SubmitError
from ..model.wording import type_of

_F = TypeVar("_F", bound=Callable[..., Any] | None)


@dataclass(frozen=True)
class Setup:
    """A function that runs first in every worker of the notebook's later jobs.

    Parameters
    ----------
    make : callable
        Returns the function, ``fn(env)`` or ``fn()``, as the notebook's variables are now.
    text : str
        Its text for people: a cell's text, or a function's name.
    """

    make: Callable[[], Callable[..., Any]]
    text: str


_current: Setup | None = None


def setup(fn: _F) -> _F:
    """Let `fn` run first in every worker of this notebook's later jobs.

    What it sets holds in the worker before anything else of the job is there: ``np.seterr``, options of pandas,
    `decimal`'s precision, ``os.environ``. A name that it makes global is there for the job's code, unless the
    notebook has that name, too. It travels as a worker function does, with the variables that it uses.

    Parameters
    ----------
    fn : callable or None
        ``fn(env)`` or ``fn()``; what it returns is not used. It takes the place of an earlier one. None: no setup.

    Returns
    -------
    callable or None
        `fn`, so that this is a decorator as well.

    Raises
    ------
    SubmitError
        When workers could not call it, or it cannot travel. The earlier one stays.
    """
    if fn is None:
        keep(None)
    elif not callable(fn):
        raise SubmitError(f"setup is {type_of(fn)}; give a function, or None for no setup")
    else:
        name = getattr(fn, "__qualname__", None) or type(fn).__name__
        keep(Setup(lambda: fn, f"the function {name}"))
    return fn


def keep(new: Setup | None) -> Setup | None:
    """Put `new` in the place of the setup, if it can travel, and return the earlier one."""
    global _current
    if new is not None:
        from ..package.job_package import check_setup

        check_setup(new.make())
    earlier, _current = _current, new
    return earlier


def current() -> Setup | None:
    """Return the setup, if there is one."""
    return _current
