"""The environment goes to who asks for it; a parameter with a default is the function's own."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import pytest

from t2notebook.model.errors import SubmitError
from t2notebook.package.job_package import check_worker
from t2notebook.worker.process.call import call


class Env:
    pass


def positional_only(n: Any = 5, /) -> Any:
    return n


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*arguments: Any, **keywords: Any) -> Any:
        return function(*arguments, **keywords)

    return inner


class Worker:
    def __init__(self, n: int = 5) -> None:
        self.n = n

    def method(self, env: Any) -> Any:
        return env

    def own(self, n: int = 5) -> Any:
        return self.n + n

    @classmethod
    def of_class(cls, env: Any) -> Any:
        return env

    @staticmethod
    def of_none() -> Any:
        return 5

    def __call__(self, n: int = 5) -> Any:
        return n


class Taken:
    def __init__(self, env: Any) -> None:
        self.env = env


ENVIRONMENT = {
    "the first": lambda env: env,
    "of any name": lambda e: e,
    "with others that have defaults": lambda e, n=5: e,
    "called env, with a default": lambda env=None: env,
    "called env, not the first": lambda n=5, env=None: env,
    "keyword-only": lambda *, env: env,
    "keyword-only, with a default": lambda n=5, *, env=None: env,
    "any number": lambda *a: a[0],
    "a partial that leaves it": functools.partial(lambda n, e: e, 5),
    "a partial that leaves it by name": functools.partial(lambda env, n: env, n=5),
    "a method": Worker().method,
    "a class method": Worker.of_class,
    "wrapped": wrapped(lambda e: e),
}
OWN = {
    "a default": lambda i=5: i,
    "a positional-only default": positional_only,
    "a partial that has all": functools.partial(lambda n: n, 5),
    "a partial that has set env": functools.partial(lambda env: env, env=5),
    "a default and any number": lambda n=5, *a: n,
    "nothing": lambda: 5,
    "any keywords": lambda **k: k.get("env", 5),
    "a method with a default": Worker(0).own,
    "a static method": Worker.of_none,
    "an object": Worker(),
    "wrapped with a default": wrapped(lambda n=5: n),
}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_the_environment_is_passed(name: str) -> None:
    env = Env()
    check_worker(ENVIRONMENT[name])
    assert call(ENVIRONMENT[name], env) is env


@pytest.mark.parametrize("name", OWN)
def test_a_default_is_the_functions_own(name: str) -> None:
    check_worker(OWN[name])
    assert call(OWN[name], Env()) == 5


def test_classes_and_builtins() -> None:
    env = Env()
    assert call(Taken, env).env is env and call(Worker, env).n == 5
    assert call(str, env) == "" and call(dict, env) == {} and call(time.time, env) > 0
    assert call(id, env) == id(env)


def test_an_error_of_the_function_itself_is_its_own() -> None:
    def fails(env: Any) -> None:
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        call(fails, Env())


@pytest.mark.parametrize("function", [lambda a, b: 1, lambda *, a: 1, lambda n, env: 1])
def test_what_needs_more_is_refused_at_submit(function: Callable[..., Any]) -> None:
    with pytest.raises(SubmitError, match="takes neither"):
        check_worker(function)
