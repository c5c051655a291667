"""Pools of workers that stay: calls, futures, and the executor that is made of them."""

from __future__ import annotations

from .completion import FutureStream, as_completed
from .executor import Executor, map
from .futures import Future

__all__ = ["Executor", "Future", "FutureStream", "as_completed", "map"]
