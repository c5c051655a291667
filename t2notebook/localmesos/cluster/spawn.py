"""Spawned processes of a cluster: their start, their ready line, their end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

START_SECONDS = 30.0

STOP_SECONDS = 15.0


class StartError(RuntimeError):
    """The cluster did not start; the text says why."""


class Spawned:
    """A supervisor that was started and has perhaps not announced itself yet.

    Parameters
    ----------
    arguments
        Of `python -m t2notebook.localmesos`.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        read, write = os.pipe()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as the process's start
        package = str(Path(__file__).resolve().parents[2])
        # The package that we are of, and nothing before the standard library: neither a random.py in the notebook's
        # directory nor an old backport beside the package must become the cluster's.
        code = (
            "import importlib.util, sys\n"
            f"spec = importlib.util.spec_from_file_location('t2notebook', {os.path.join(package, '__init__.py')!r})\n"
            "package = sys.modules['t2notebook'] = importlib.util.module_from_spec(spec)\n"
            "spec.loader.exec_module(package)\n"
            f"sys.path += [] if {os.path.dirname(package)!r} in sys.path else [{os.path.dirname(package)!r}]\n"
            "from t2notebook.localmesos.cluster.supervisor import main\n"
            "sys.exit(main())\n"
        )
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, *arguments, "--announce-fd", str(write)],
                pass_fds=(write,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                start_new_session=True,
                cwd="/",
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            )
        except OSError as error:
            os.close(read)
            raise StartError(f"Cannot start the embedded Mesos: {error}") from error
        finally:
            os.close(write)
        self._read = read
        self._line: dict[str, Any] | None = None

    def wait(self, timeout: float = START_SECONDS) -> dict[str, Any]:
        """Wait for the announcement.

        Returns
        -------
        dict
            `master` ("host:port"), `pid`, `pids`, `work_dir`.

        Raises
        ------
        StartError
            The supervisor ended, or said nothing in time (it is ended then).
        """
        if self._line is not None:
            return self._line
        deadline, data = time.monotonic() + timeout, b""
        # Not select(): a notebook may have more descriptors open than that can take.
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        try:
            while not data.endswith(b"\n"):
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not poll.poll(1000 * remaining):
                    # The group: a detached supervisor is no child any more, but still in it.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(self.process.pid, signal.SIGKILL)
                    self.process.wait()
                    raise StartError(f"The embedded Mesos did not start within {timeout:g} s{self._said()}")
                piece = os.read(self._read, 65536)
                if not piece:
                    self.process.wait()
                    raise StartError(f"The embedded Mesos did not start{self._said()}")
                data += piece
        finally:
            os.close(self._read)
        self._stderr.close()
        line: dict[str, Any] = json.loads(data)
        if line["pid"] != self.process.pid:
            self.process.wait()
        self._line = line
        return line

    def abandon(self) -> None:
        """End what was started and has not been waited for."""
        if self._line is None:
            # The group: a detached supervisor is no child any more, but still in it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _said(self) -> str:
        self._stderr.seek(0)
        text = self._stderr.read().decode("utf-8", "replace").strip()
        self._stderr.close()
        if text.startswith("usage: "):  # argparse: what is wrong stands in its last line
            text = text.splitlines()[-1].partition(" error: ")[2] or text
        return f": {text[-2000:]}" if text else ""


def end(process: subprocess.Popen[bytes], signum: int = signal.SIGTERM) -> None:
    """Ask a process to end, wait, and kill it when it does not."""
    if process.poll() is None:
        process.send_signal(signum)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
