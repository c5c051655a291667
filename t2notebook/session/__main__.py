"""Starts a session: ``python -m t2notebook.session CONFIG``; it tells its news on a descriptor."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from ..model.errors import Twister2Error
from ..model.process import allow_many_files, default_signals


def main() -> None:
    """Run a session until nobody needs it. The embedded Mesos, if it is wanted, starts while we import the
    rest.
    """
    default_signals()
    settings: dict[str, Any] = json.loads(sys.argv[1])
    settings["secrets"] = _secrets()
    news = os.fdopen(int(settings["ready_fd"]), "w")
    cluster = None
    try:
        if settings["config"]["master"] == "local":
            from .embedded import Cluster

            cluster = Cluster(Path(settings["runtime_dir"]), settings["config"])
        allow_many_files()  # after what it starts, whose programs need not know of it
        from .app import run

        run(settings, cluster, lambda: _tell(news, {"ready": True}))
    except Twister2Error as error:
        _tell(news, {"error": str(error)})
        sys.exit(1)
    except BaseException as error:
        _tell(news, {"error": f"{type(error).__name__}: {error}"})
        raise
    finally:
        if cluster is not None:
            cluster.abandon()


def _secrets() -> dict[str, str]:
    """Read what must not stand in a command line (the fields of `Secrets`); nothing may come, too."""
    with os.fdopen(os.dup(0), "rb") as pipe:
        # Up to the end of the line, not of the pipe: a process that the kernel forked meanwhile may hold that open.
        text = pipe.readline()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return {str(name): str(value) for name, value in json.loads(text or b"{}").items()}


def _tell(news: Any, record: dict[str, Any]) -> None:
    if not news.closed:
        try:
            news.write(json.dumps(record) + "\n")
            news.close()
        except OSError:
            pass  # the kernel that started us is gone; whoever comes next finds the socket


if __name__ == "__main__":
    main()
