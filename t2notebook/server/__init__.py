"""The Jupyter server extension: the jobs of every kernel, living or dead, over HTTP and a WebSocket.

It is an observer: nothing that it does keeps a session or a cluster alive. So a side bar and a Cancel work while a
kernel is busy, and after it has died.
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from .extension import T2NotebookExtension

    return [{"module": "t2notebook.server.extension", "app": T2NotebookExtension}]
