"""The debugger in a worker: `breakpoint()`, `pdb.set_trace()`, and with ``debug`` an exception that nobody catches,
hold it until somebody has attached from the notebook, has looked around and lets it go on; or until nobody has come for
long enough.

pdb itself is imported when a worker stops for the first time. Its lines come and go through the job master. Each thread
that stops has a pdb of its own, and they take turns: who has gone on lets the next one in.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from ...protocol.after_import import when_imported
from . import remote_traceback
from .job_master_client import JobMasterClient
from .remote_traceback import error_line

if TYPE_CHECKING:
    from .remote_pdb import RemotePdb


class Debugger:
    """The way into the debugger, of one worker.

    Parameters
    ----------
    client : JobMasterClient
    worker_id : int
    timeout : float
        Seconds that it waits for somebody to attach.
    """

    def __init__(self, client: JobMasterClient, worker_id: int, timeout: float) -> None:
        self._client, self._worker_id, self._timeout = client, worker_id, timeout
        self._pid = os.getpid()
        self._turn = threading.Lock()
        self._threads = threading.local()

    def install(self) -> None:
        """Have `breakpoint()` lead here, and `pdb.set_trace()`, whose terminal a worker has not."""
        global _installed
        _installed = self
        sys.breakpointhook = self._on_breakpoint
        when_imported("pdb", self._take_over)

    def post_mortem(self, error: BaseException) -> None:
        """Hold the worker where an exception was raised; when this returns, it ends as it would have."""
        if os.getpid() != self._pid or (traceback := users_part(error.__traceback__)) is None:
            return
        what = error_line(error, 200)
        console = self._console(f"{what}, which nobody caught", "q")
        console.write(
            f"{what}\nWorker {self._worker_id} waits where it was raised; c or q ends it as the exception would have.\n"
        )
        self._make(console).look_at(traceback)
        console.end()

    def release(self) -> None:
        """Leave the debugger: the user's function has ended in this thread, in the middle of somebody's steps."""
        if (pdb := self._pdb) is not None and os.getpid() == self._pid:
            pdb.leave()
            self._threads.pdb = None

    @property
    def _pdb(self) -> RemotePdb | None:
        """The present thread's."""
        return getattr(self._threads, "pdb", None)

    def _on_breakpoint(self, *arguments: Any, **options: Any) -> Any:
        if os.environ.get("PYTHONBREAKPOINT", "") not in (
            "",
            "pdb.set_trace",
        ):  # another one is wanted, or none
            return sys.__breakpointhook__(*arguments, **options)
        self._stop(sys._getframe(1), "breakpoint()")
        return None

    def _take_over(self, pdb: Any) -> None:
        def set_trace(*, header: str | None = None, commands: Iterable[str] | None = None) -> None:
            self._stop(sys._getframe(1), "pdb.set_trace()", header, commands)

        pdb.set_trace = set_trace

    def _stop(
        self, frame: FrameType, what: str, header: str | None = None, commands: Iterable[str] | None = None
    ) -> None:
        if os.getpid() != self._pid:
            remote_traceback.say(
                f"t2notebook: {what} is passed over in a process that the worker has forked: the debugger is for the "
                "worker's own process\n"
            )
            return
        code = frame.f_code
        place = f"{os.path.basename(code.co_filename)}:{frame.f_lineno}"
        why = f"{what} in {code.co_name} at {place}"
        if (pdb := self._pdb) is None:
            pdb = self._threads.pdb = self._make(self._console(why, "c"))
        if not pdb.console.is_held:
            pdb.console.begin(
                why,
                f"Worker {self._worker_id} waits in the debugger. c goes on, q ends the worker, h shows more; an "
                "interrupt leaves it waiting.\n",
            )
        if header is not None:
            pdb.console.write(f"{header}\n")
        pdb.rcLines.extend(commands or ())
        pdb.stop_in(frame)

    def _console(self, why: str, when_nobody: str) -> Any:
        from .remote_pdb import Console

        return Console(self._client, self._turn, why, self._timeout, when_nobody)

    def _make(self, console: Any) -> RemotePdb:
        from .remote_pdb import RemotePdb

        return RemotePdb(console)


_installed: Debugger | None = None


def release() -> None:
    """Leave this worker's debugger, if somebody's steps led past the end of their function."""
    if _installed is not None:
        _installed.release()


def users_part(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the user's first frame on; None if it has none."""
    ours = os.path.dirname(Debugger.install.__code__.co_filename)
    while traceback is not None and _is_ours(traceback.tb_frame, ours):
        traceback = traceback.tb_next
    return traceback


def _is_ours(frame: FrameType, ours: str) -> bool:
    folder = os.path.dirname(frame.f_code.co_filename)
    return folder == ours or os.path.basename(folder) == "asyncio"
