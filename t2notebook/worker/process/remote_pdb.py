"""pdb with its input and output on the worker's channel; imported when a worker stops for the first time."""

from __future__ import annotations

import bdb
import io
import pdb
import sys
from types import FrameType, TracebackType
from typing import Any

from .debugger_quit import QuitInDebugger
from .inspection import beginning
from .job_master_client import JobMasterClient

#: Characters of output that are sent with one question at the most: the last ones.
_MOST_OUTPUT = 100_000


class Console(io.TextIOBase):
    """A terminal that is somewhere else: what is written waits until a line is asked for.

    Parameters
    ----------
    client : JobMasterClient
    why : str
        The reason why the worker is held.
    timeout : float
        Seconds that it waits for somebody.
    when_nobody : str
        The line that counts as given when nobody has come.
    """

    encoding = "utf-8"

    def __init__(self, client: JobMasterClient, why: str, timeout: float, when_nobody: str) -> None:
        self._client, self.why, self._timeout, self._when_nobody = client, why, timeout, when_nobody
        self._waiting: list[str] = []
        self.is_held = self.is_left_alone = self.is_interactive = False

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        """Keep `text` for whoever reads it."""
        self._waiting.append(text)
        return len(text)

    def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
        """Ask for a line, and wait for it."""
        if self.is_left_alone:
            return "" if self.is_interactive else f"{self._when_nobody}\n"
        text = "".join(self._waiting)[-_MOST_OUTPUT:]
        self._waiting.clear()
        output, newline, prompt = text.rpartition("\n")
        question = {"kind": "debug", "why": self.why, "timeout": self._timeout}
        self.is_held = True
        answer, _ = self._client.ask({**question, "output": output + newline, "prompt": prompt})
        if "line" not in answer:  # nobody came, or the job master knows nothing of debuggers
            self.is_left_alone = True
            return self.readline()
        line = str(answer["line"])
        if self.is_interactive and line.strip() in ("exit", "exit()", "quit", "quit()"):
            return ""  # the end of the file, which a notebook's input box has no key for
        return f"{line}\n"

    def end(self) -> None:
        """Say that the worker goes on."""
        if self.is_held:
            self.is_held = False
            self._client.ask({"kind": "debug_end"})


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
        super().interaction(frame, value)
        if self._goes_on:
            self.console.end()

    def get_stack(
        self, f: FrameType | None, t: TracebackType | None
    ) -> tuple[list[tuple[FrameType, int]], int]:
        """Return the stack from the user's first frame on."""
        stack, index = super().get_stack(f, t)
        first = beginning([(one.f_code.co_filename, line, one.f_code.co_name) for one, line in stack])
        return stack[first:], max(0, index - first)

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
        try:
            return super().trace_dispatch(frame, event, arg)
        except bdb.BdbQuit:
            self.console.end()
            raise QuitInDebugger("it was ended in the debugger") from None

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
