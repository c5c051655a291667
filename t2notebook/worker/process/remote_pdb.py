"""pdb with its input and output on the worker's channel; imported when a worker stops for the first time."""

from __future__ import annotations

import bdb
import ctypes
import io
import os
import pdb
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from . import finalization
from .debugger_quit import QuitInDebugger
from .inspection import LOOK, after_bootstrap, beginning
from .job_master_client import JobMasterClient

#: Characters of output that are sent with one question at the most: the last ones.
_MOST_OUTPUT = 100_000
#: Methods of a thread below its function.
_BELOW_THREADS = frozenset(
    function.__code__
    for name in ("_bootstrap", "_bootstrap_inner", "run")
    if (function := getattr(threading.Thread, name, None)) is not None
)


class Console(io.TextIOBase):
    """A terminal that is somewhere else: what is written waits until a line is asked for.

    Parameters
    ----------
    client : JobMasterClient
    turn : lock
        Held by the thread that somebody debugs, until it goes on.
    why : str
        The reason why the worker is held.
    timeout : float
        Seconds that it waits for somebody.
    when_nobody : str
        The line that counts as given when nobody has come.
    """

    encoding = "utf-8"

    def __init__(
        self, client: JobMasterClient, turn: threading.Lock, why: str, timeout: float, when_nobody: str
    ) -> None:
        self._client, self._turn, self._why = client, turn, why
        self._timeout, self._when_nobody = timeout, when_nobody
        self._waiting: list[str] = []
        self.is_held = self.is_left_alone = self.is_interactive = False

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def begin(self, why: str, greeting: str) -> None:
        """Be about to stop for another reason than before."""
        self._why = why
        self._waiting[:] = [greeting]

    def take_turn(self) -> None:
        """Wait until no other thread of this worker is debugged."""
        if not self.is_held:
            self._turn.acquire()
            self.is_held = True

    def write(self, text: str) -> int:
        """Keep `text` for whoever reads it."""
        self._waiting.append(text)
        return len(text)

    def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
        """Ask for a line, and wait for it."""
        if self.is_left_alone:
            return "" if self.is_interactive else f"{self._when_nobody}\n"
        text = "".join(self._waiting)
        if (more := len(text) - _MOST_OUTPUT) > 0:
            text = f"[the first {more:,} characters are left out]\n{text[more:]}"
        self._waiting.clear()
        output, newline, prompt = text.rpartition("\n")
        question = {"kind": "debug", "why": self._why, "timeout": self._timeout}
        answer, _ = self._client.ask({**question, "output": output + newline, "prompt": prompt})
        if "line" not in answer:  # nobody came, or the job master knows nothing of debuggers
            self.is_left_alone = True
            return self.readline()
        line = str(answer["line"])
        if self.is_interactive and line.strip() in ("exit", "exit()", "quit", "quit()"):
            return ""  # the end of the file, which a notebook's input box has no key for
        return f"{line}\n"

    def end(self) -> None:
        """Say that the worker goes on, and let the next thread stop."""
        if not self.is_held:
            return
        try:
            self._client.ask({"kind": "debug_end"})
        finally:
            self.is_held = False
            self._turn.release()


class RemotePdb(pdb.Pdb):
    """A pdb on a `Console`.

    Parameters
    ----------
    console : Console

    Attributes
    ----------
    console : Console
    """

    def __init__(self, console: Console) -> None:
        # Our own code is nobody's to step into: after the user's function there is nothing more to stop at.
        super().__init__(stdin=console, stdout=console, nosigint=True, readrc=False, skip=["t2notebook.*"])  # type: ignore[arg-type]
        self.use_rawinput = False
        self.console = console
        self._goes_on = False
        self._pid = os.getpid()

    def stop_in(self, frame: FrameType) -> None:
        """Stop in a frame of the user's."""
        self.console.is_left_alone = False
        self.set_trace(frame)

    def look_at(self, traceback: TracebackType) -> None:
        """Let somebody look at where an exception was raised."""
        self.reset()
        self.interaction(None, traceback)

    def leave(self) -> None:
        """Stop at nothing more."""
        sys.settrace(None)  # first: somebody's steps would lead into what is called here
        self.set_continue()
        self.console.end()

    def interaction(self, frame: Any, value: Any) -> None:
        """Read commands and obey them; the worker is held from the first one until it goes on, also while it steps."""
        self._goes_on = False
        self.console.take_turn()
        super().interaction(frame, value)
        if self._goes_on:
            self.console.end()

    def get_stack(
        self, f: FrameType | None, t: TracebackType | None
    ) -> tuple[list[tuple[FrameType, int]], int]:
        """Return the stack from the user's first frame on."""
        stack, index = super().get_stack(f, t)
        places = [(one.f_code.co_filename, line, one.f_code.co_name) for one, line in stack]
        first = beginning(places) or after_bootstrap(places)
        return stack[first:], max(0, index - first)

    def stop_here(self, frame: FrameType) -> bool:
        """Return whether a step ends in a frame: below a thread's function there is nothing to see."""
        return frame.f_code not in _BELOW_THREADS and super().stop_here(frame)

    def trace_dispatch(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Trace; the end that somebody wants is none that the user's code catches.

        Parameters
        ----------
        frame, event, arg
            As `sys.settrace` gives them.

        Raises
        ------
        QuitInDebugger
        """
        if os.getpid() != self._pid:  # somebody steps over a fork: the copy is not debugged
            sys.settrace(None)
            return None
        try:
            traced = super().trace_dispatch(frame, event, arg)
        except bdb.BdbQuit:
            self.console.end()
            _end_main_thread()
            raise QuitInDebugger("it was ended in the debugger") from None
        if event == "return" and frame.f_back is not None and frame.f_back.f_code in _BELOW_THREADS:
            self.leave()  # somebody's steps have led past the end of a thread
            return None
        return traced

    def do_continue(self, arg: str) -> bool | None:
        """c(ont(inue)): go on, and stop only at a breakpoint."""
        self._goes_on = True
        return super().do_continue(arg)

    do_c = do_cont = do_continue

    def do_interact(self, arg: str) -> Any:
        """interact: start an interpreter that has the names of this place; exit() leads back."""
        before = sys.stdin, sys.stdout, sys.stderr
        sys.stdin = sys.stdout = sys.stderr = self.console
        self.console.is_interactive = True
        try:
            return super().do_interact(arg)
        except SystemExit:
            return None
        finally:
            sys.stdin, sys.stdout, sys.stderr = before
            self.console.is_interactive = False

    def do_run(self, arg: str) -> None:
        """restart: not of a worker."""
        self.message("a worker cannot be restarted from here: job.kill(worker_id, restart=True) does that")

    do_restart = do_run


def _end_main_thread() -> None:
    """Have the main thread end as this one does, if this is another: with it the worker ends."""
    main = threading.main_thread()
    if threading.current_thread() is main or main.ident is None or _has_returned(main.ident):
        return
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main.ident), ctypes.py_object(QuitInDebugger))
    if LOOK is not None and callable(signal.getsignal(LOOK)):
        signal.pthread_kill(main.ident, LOOK)  # it may wait, for this very thread


def _has_returned(thread: int) -> bool:
    """Return whether the user's function has, and its thread waits for the others."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_globals.get("__name__") == finalization.__name__:
            return True
        frame = frame.f_back
    return False
