"""Looks into a worker's process, from its own side."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

import pytest

from t2notebook.worker.process import inspection
from t2notebook.worker.process.inspection import Inspector


def test_a_look_that_comes_at_the_end_of_another_sees_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes while a handler begins or ends has that handler's frame as the interrupted one."""
    seen: list[FrameType | None] = []
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs, open(os.devnull, "w") as dump:
        inspector = Inspector(ours, dump.fileno())

        def receive() -> Mapping[str, Any] | None:
            if len(seen) < 2:
                inspector._is_looking = False
                inspector._on_look(0, sys._getframe(1))
            return None

        monkeypatch.setattr(inspector, "_receive", receive)
        profile: Any = inspection._Profile()
        monkeypatch.setattr(inspector, "_profile", profile)
        monkeypatch.setattr(profile, "sample", seen.append, raising=False)
        here = sys._getframe()
        inspector._on_look(0, here)
    assert len(seen) == 2 and seen[0] is here
    assert seen[1] is not None and seen[1].f_code is not Inspector._on_look.__code__
