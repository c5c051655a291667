"""Prints what the user should know about a job that was submitted, one line each."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..model.errors import Twister2Warning


@contextmanager
def told() -> Iterator[None]:
    """Print our warnings of what is inside as lines of stderr; others go their way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Twister2Warning)
        yield
    for each in caught:
        if issubclass(each.category, Twister2Warning):
            print(f"Note: {each.message}", file=sys.stderr)
        else:
            warnings.warn_explicit(
                each.message, each.category, each.filename, each.lineno, source=each.source
            )
