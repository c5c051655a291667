"""``t2notebook dash``: all jobs on a page of its own, on loopback with a token, for people who submit from scripts.

It is a Jupyter server with nothing in it but this extension: no kernels, files or terminals, and no other extension.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from jupyter_server.serverapp import ServerApp

#: The page's path, below the server's base URL.
PATH = "/t2notebook/dash"


class Dash(ServerApp):
    """The server of the page."""

    name = "t2notebook-dash"
    description = "The jobs of all kernels, scripts and sessions of yours on a page, which may kill them."
    examples = "    t2notebook dash\n    t2notebook dash --no-browser --port 9000\n"
    default_services = ("auth", "security")  # type: ignore[assignment]

    def find_server_extensions(self) -> None:
        """Load none but ours, whatever is installed."""


def main(arguments: Sequence[str]) -> Any:
    """Serve until it is interrupted.

    Parameters
    ----------
    arguments : sequence of str
        As of ``jupyter server``: ``--port``, ``--no-browser``, ...
    """
    settings = {
        "jpserver_extensions": {"t2notebook.server": True},
        "default_url": PATH,
        "open_browser": True,
        "ip": "127.0.0.1",
        "port": 8890,
        "allow_root": True,
        "log_level": "WARN",
    }
    return Dash.launch_instance(argv=list(arguments), **settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
