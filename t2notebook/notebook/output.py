"""The place of an output: writes from a thread reach the cell that made it, whichever cell runs now."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable
from pathlib import PurePath
from typing import Any


class OutputContext:
    """The context of the cell that runs now, to be entered from another thread, one at a time.

    Parameters
    ----------
    ip : IPython.core.interactiveshell.InteractiveShell
        Of a kernel.

    Notes
    -----
    ipykernel 7 keeps the parent of a message in context variables, from 7.4 also per thread. ipykernel 6 has
    one parent for the whole process: setting that would send another cell's output here, so `update` puts
    the parent into the message instead.
    """

    def __init__(self, ip: Any) -> None:
        self._ip = ip
        self._context = contextvars.copy_context()
        get_parent = getattr(ip, "get_parent", None)
        self.parent: Any = get_parent() if get_parent is not None else {}

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call `function` as if the cell did."""
        return self._context.run(self._in_thread, function, arguments)

    def _in_thread(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        set_parent = getattr(self._ip, "set_thread_parent", None)
        if set_parent is None:
            return function(*arguments)
        tokens = set_parent(self.parent)
        try:
            return function(*arguments)
        finally:
            self._ip.reset_thread_parent(tokens)

    def act(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call `function` on the thread that takes the kernel's messages, as if the cell did.

        There a click arrives, as a message of its own, to which no cell listens.
        """
        before = self._ip.get_parent()
        self._ip.set_parent(self.parent)
        try:
            return function(*arguments)
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            self._ip.set_parent(before)

    def write(self, text: str) -> None:
        """Print `text` as the cell that made it would, from any thread."""
        publisher = self._ip.display_pub
        session = getattr(publisher, "session", None)
        if session is None or getattr(publisher, "pub_socket", None) is None:
            print(text, end="", flush=True)
            return
        message = session.msg("stream", {"name": "stdout", "text": text}, parent=self.parent)
        session.send(publisher.pub_socket, message, ident=publisher.topic)

    def update(self, bundle: dict[str, Any], display_id: str) -> None:
        """Replace the output `display_id` by `bundle`, as a message of the cell that made it."""
        send_update(self._ip, bundle, display_id, self.parent)


def send_update(ip: Any, bundle: dict[str, Any], display_id: str, parent: Any) -> None:
    """Send ``update_display_data`` with the parent message `parent`.

    Parameters
    ----------
    ip : InteractiveShell
    bundle : dict
        By MIME type.
    display_id : str
    parent
        The message of the cell that it belongs to.
    """
    publisher = ip.display_pub
    session = getattr(publisher, "session", None)
    if session is None or getattr(publisher, "pub_socket", None) is None:
        publisher.publish(bundle, transient={"display_id": display_id}, update=True)
        return
    content = {"data": bundle, "metadata": {}, "transient": {"display_id": display_id}}
    message = session.msg("update_display_data", content, parent=parent)
    session.send(publisher.pub_socket, message, ident=publisher.topic)


def kernel_shell() -> Any:
    """Return the shell of the kernel that this process is, or None in a terminal or a script."""
    if "IPython" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    ip = get_ipython()
    return ip if getattr(ip, "kernel", None) is not None else None


def kernel_id() -> str:
    """Return the id by which a Jupyter server knows this kernel; empty if it cannot be told."""
    try:
        from ipykernel.connect import get_connection_file

        name = PurePath(get_connection_file()).stem
    except (ImportError, RuntimeError):
        return ""
    return name.removeprefix("kernel-") if name.startswith("kernel-") else ""
