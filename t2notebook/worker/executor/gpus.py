"""Use of GPUs by processes, as `nvidia-smi` tells it, where that is on the agent; asked beside the executor's work."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

from .event_loop import Loop

Uses = dict[int, tuple[float | None, float | None]]

#: Seconds between two questions (each takes about one), and until one that is not answered is given up.
INTERVAL, PATIENCE = 5.0, 20.0
#: One look at all processes: utilization and memory (`nvidia-smi pmon --help`).
_COMMAND = ("pmon", "-c", "1", "-s", "um")
_MOST = 1 << 20


class GpuWatch:
    """Asks `nvidia-smi` now and then.

    Parameters
    ----------
    loop : Loop
    told : callable
        Called with the uses by pid: GPUs in use, and MiB of their memory; None for what is not told.
    """

    def __init__(self, loop: Loop, told: Callable[[Uses], None]) -> None:
        self._loop, self._told = loop, told
        self._program = shutil.which("nvidia-smi")
        self._process: subprocess.Popen[bytes] | None = None
        self._output = b""
        self._next = self._give_up = 0.0

    def ask(self, now: float) -> None:
        """Ask, if there is whom to ask, and it is time to; to be called about once a second.

        Parameters
        ----------
        now : float
            Seconds of the monotonic clock.
        """
        if self._process is not None and now > self._give_up:
            self._process.kill()
            self._end()
            self._program = None  # a driver that hangs is not asked again
        if self._program is None or self._process is not None or now < self._next:
            return
        self._next, self._give_up = now + INTERVAL, now + PATIENCE
        try:
            self._process = subprocess.Popen(
                [self._program, *_COMMAND],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            self._program = None
            return
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._output = b""
        self._loop.add_reader(self._process.stdout, self._read)

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        try:
            data = os.read(self._process.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return
        self._output += data
        if data and len(self._output) < _MOST:
            return
        output = self._output
        self._end()
        self._told(parse(output.decode("utf-8", "replace")))

    def _end(self) -> None:
        process, self._process = self._process, None
        assert process is not None and process.stdout is not None
        self._loop.remove_reader(process.stdout)
        process.stdout.close()
        process.poll()
        if process.returncode is None:
            _unreaped.append(process)
        _unreaped[:] = [one for one in _unreaped if one.poll() is None]


#: Those that have closed their output and are about to end.
_unreaped: list[subprocess.Popen[bytes]] = []


def parse(text: str) -> Uses:
    """Return the uses by pid in the output of ``nvidia-smi pmon``; a process on several GPUs has the sum.

    The first comment names the columns: which there are differs from driver to driver.
    """
    columns: list[str] = []
    found: Uses = {}
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["#"]:
            columns = columns or words[1:]
            continue
        row = dict(zip(columns, words, strict=False))
        if not (pid := row.get("pid", "")).isdigit():
            continue  # an idle GPU has a dash
        gpu, mem = found.get(int(pid), (None, None))
        share, size = _number(row.get("sm")), _number(row.get("fb"))
        found[int(pid)] = (
            gpu if share is None else (gpu or 0.0) + share / 100,
            mem if size is None else (mem or 0.0) + size,
        )
    return found


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
