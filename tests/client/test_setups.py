"""One setup for a notebook: it is replaced, taken away, and refused when it cannot travel."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator

import pytest

import t2notebook as t2
from t2notebook.client import setups
from t2notebook.model.errors import PackageError, SubmitError


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    yield
    setups.keep(None)


def test_a_later_setup_replaces_the_earlier() -> None:
    @t2.setup
    def first() -> None: ...

    kept = setups.current()
    assert kept is not None and kept.make() is first and "first" in kept.text
    second = t2.setup(lambda env: None)
    kept = setups.current()
    assert kept is not None and kept.make() is second
    t2.setup(None)
    assert setups.current() is None


def test_a_setup_that_cannot_run_or_travel_is_refused_and_the_earlier_one_stays() -> None:
    lock = threading.Lock()
    t2.setup(print)
    with pytest.raises(PackageError, match=r"^setup: .* cannot be sent to workers: 'lock' "):
        t2.setup(lambda: lock)
    with pytest.raises(
        PackageError, match=r"^setup: the setup function .* Make it inside the setup function"
    ):
        t2.setup(functools.partial(print, lock))
    with pytest.raises(SubmitError, match=r"^a setup is called with env, or with nothing; .* takes neither"):
        t2.setup(lambda a, b: None)
    with pytest.raises(SubmitError, match=r"^setup is a str; give a function, or None"):
        t2.setup("np.seterr()")  # type: ignore[type-var]
    kept = setups.current()
    assert kept is not None and kept.make() is print
