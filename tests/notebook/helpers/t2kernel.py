"""A real kernel process, with every message that it publishes kept in order."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.connect import write_connection_file

ANSI = re.compile(r"\x1b\[[0-9;]*m")
WIDGET = "application/vnd.jupyter.widget-view+json"
JOB = "application/vnd.t2notebook.job+json"


def kernel_path():
    """Return the PYTHONPATH of kernels: our own modules, and before them another ipykernel, if one is tested."""
    helpers = Path(__file__).parent
    other = os.environ.get("T2_TEST_KERNEL_PATH")
    return os.pathsep.join([*([other] if other else []), str(helpers), str(helpers.parents[2])])


@dataclass
class Ran:
    """Output of one cell; `error` is its rendered traceback without colours, `text` its stdout."""

    id: str
    reply: dict
    messages: list = field(default_factory=list)

    @property
    def error(self):
        found = [m["content"] for m in self.messages if m["msg_type"] == "error"]
        return ANSI.sub("", "\n".join(found[0]["traceback"])) if found else ""

    @property
    def text(self):
        return "".join(m["content"]["text"] for m in self.messages if m["msg_type"] == "stream")

    @property
    def displays(self):
        """The displays, without updates of them."""
        return [m["content"] for m in self.messages if m["msg_type"] in ("display_data", "execute_result")]

    @property
    def updates(self):
        return [m["content"] for m in self.messages if m["msg_type"] == "update_display_data"]


class Kernel:
    """Run as a context; without jupyter_client's managers, whose event loops outlive a test."""

    def __init__(self, environment):
        self.environment = environment
        self.messages = []
        self._changed = threading.Condition()
        self._stop = threading.Event()

    def __enter__(self):
        self._folder = tempfile.mkdtemp()
        file, _ = write_connection_file(
            f"{self._folder}/kernel.json", transport="ipc", ip=f"{self._folder}/k"
        )
        python = os.environ.get("T2_TEST_KERNEL_PYTHON", sys.executable)
        self.process = subprocess.Popen(
            [python, "-m", "ipykernel_launcher", "-f", file], env=self.environment
        )
        self.client = BlockingKernelClient(connection_file=file)
        self.client.load_connection_file()
        self.client.start_channels(hb=False)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.reply(self.client.kernel_info(), 40)
        end = time.monotonic() + 20
        while not self.messages:  # what is published before the subscription stands is lost
            assert time.monotonic() < end
            self.reply(self.client.kernel_info())
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.client.shutdown()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._stop.set()
        self._reader.join(5)
        self.client.stop_channels()
        self.client.context.destroy(linger=0)
        shutil.rmtree(self._folder)

    def interrupt(self):
        """Interrupt the kernel, as the stop button does."""
        self.process.send_signal(signal.SIGINT)

    def _read(self):
        socket = self.client.iopub_channel.socket
        while not self._stop.is_set():
            if not socket.poll(100):
                continue
            _, message = self.client.session.recv(socket)
            message["seen"] = time.monotonic()
            with self._changed:
                self.messages.append(message)
                self._changed.notify_all()

    def reply(self, request, timeout=30):
        """Return the content of the reply to a request on the shell channel."""
        socket = self.client.shell_channel.socket
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if socket.poll(100):
                _, message = self.client.session.recv(socket)
                if message["parent_header"].get("msg_id") == request:
                    return message["content"]
        raise AssertionError("the kernel does not answer")

    def start(self, code, stdin=True):
        """Send a cell; return its id."""
        return self.client.execute(code, allow_stdin=stdin)

    def finish(self, cell, timeout=30):
        """Wait for a cell's end."""
        content = self.reply(cell, timeout)
        self.wait(lambda m: m["msg_type"] == "status" and m["content"]["execution_state"] == "idle", cell)
        return Ran(cell, content, self.of(cell))

    def run(self, code, timeout=30, stdin=True):
        """Run a cell to its end."""
        return self.finish(self.start(code, stdin), timeout)

    def of(self, cell):
        """Return the messages whose parent is the cell."""
        with self._changed:
            return [m for m in self.messages if m["parent_header"].get("msg_id") == cell]

    def wait(self, condition, cell=None, timeout=20):
        """Return the first message, past or future, that fits."""
        end = time.monotonic() + timeout
        with self._changed:
            while True:
                for message in self.messages:
                    parent = message["parent_header"].get("msg_id")
                    if (cell is None or parent == cell) and condition(message):
                        return message
                if not self._changed.wait(end - time.monotonic()):
                    raise AssertionError("no such message came")

    def complete(self, code):
        """Return what Tab gives at the end of `code`."""
        return self.reply(self.client.complete(code))
