"""Call of a worker's function: with the environment if it has a parameter for it, else with nothing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

ENV = "env"


def arguments(signature: inspect.Signature, function: Callable[..., Any], env: Any) -> inspect.BoundArguments:
    """Return the arguments for a call of a function.

    The environment goes to the parameter that is called ``env``, else to the first positional one without a default,
    else to ``*args``. A parameter with a default is the function's own, and so is one that a
    `functools.partial` has set.

    Parameters
    ----------
    signature : inspect.Signature
        The function's.
    function : callable
    env : WorkerEnvironment

    Raises
    ------
    TypeError
        When the function can be called neither with the environment nor with nothing.
    """
    given = function.keywords if isinstance(function, functools.partial) else {}
    parameters = [each for each in signature.parameters.values() if each.name not in given]
    named = [each for each in parameters if each.name == ENV and each.kind is not each.VAR_KEYWORD]
    if named and named[0].kind not in (named[0].POSITIONAL_ONLY, named[0].VAR_POSITIONAL):
        return signature.bind(**{ENV: env})
    positional = [
        each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    first = next(iter(positional), None)
    if first is not None:
        takes = first.default is first.empty or first.name == ENV
    else:
        takes = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    return signature.bind(env) if takes else signature.bind()


def call(function: Callable[..., Any], env: Any) -> Any:
    """Call the user's function."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return _call_builtin(function, env)
    try:
        bound = arguments(signature, function, env)
    except TypeError:
        return function(env)  # which says itself what it lacks
    return function(*bound.args, **bound.kwargs)


def _call_builtin(function: Callable[..., Any], env: Any) -> Any:
    """Call what does not tell its signature (``time.time``): with nothing, else with the environment."""
    try:
        return function()
    except TypeError as error:
        # No frame below ours: it was refused before it did anything.
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise
    return function(env)
