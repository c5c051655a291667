"""Looks into a worker's process, from its own side."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
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


def test_a_look_is_not_traced_and_tells_names_in_one_line() -> None:
    """A debugger whose next step was to come stopped in the look, in place of the user's code."""
    seen: list[str] = []

    def tracer(frame: FrameType, event: str, arg: Any) -> Any:
        seen.append(frame.f_code.co_name)
        return tracer

    go = threading.Event()
    thread = threading.Thread(target=go.wait, name="a\n\x1b[31mname", daemon=True)
    thread.start()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    before = sys.gettrace()
    with ours, theirs, open(os.devnull, "w") as dump:
        for one in (ours, theirs):
            one.setblocking(False)
        inspector = Inspector(ours, dump.fileno())
        theirs.send(b'{"kind": "stack", "number": 1}')
        sys.settrace(tracer)
        try:
            inspector._on_look(0, sys._getframe())
            assert sys.gettrace() is tracer
        finally:
            sys.settrace(before)
        record = json.loads(theirs.recv(1 << 17)[1:])
    go.set()
    thread.join()
    assert "stacks" not in seen and "_receive" not in seen
    assert "a \\x1b[31mname" in [one["name"] for one in record["threads"]]


def test_what_env_does_inside_is_not_shown() -> None:
    library, ours = os.path.dirname(threading.__file__), inspection._PACKAGE
    user, wait, ask = ("<cell>", 1, "f"), (f"{library}/threading.py", 9, "wait"), (f"{ours}a.py", 2, "ask")
    assert inspection.users_places([user, ask, wait], True) == [user]
    assert inspection.users_places([user, ask, user, ask, ask, wait], True) == [user, ask, user]
    assert inspection.users_places([user, wait], True) == [user, wait]
    installed = (f"{library}/site-packages/x.py", 9, "wait")
    assert inspection.users_places([user, ask, installed], True) == [user, ask, installed]
    assert inspection.users_places([ask, wait], False) == [ask, wait], "a thread of ours"
