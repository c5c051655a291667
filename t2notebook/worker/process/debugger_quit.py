"""The exception that ends a worker whose user typed ``q`` in the debugger; apart, so that raising it needs no pdb."""

from __future__ import annotations


class QuitInDebugger(BaseException):
    """Somebody ended this worker in the debugger.

    No `Exception`, so that a user's ``except Exception`` does not keep the worker alive.
    """
