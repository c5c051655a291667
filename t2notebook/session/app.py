"""A session's process: the session, and the API that kernels reach it by."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from tornado.web import Application

from ..model.errors import SessionError
from . import driver_api, http_api, inspection_api, stream_api, view_api
from .embedded import Cluster
from .session import Session


def make_session(settings: dict[str, Any], cluster: Cluster | None) -> Session:
    """Return a session that kernels can reach, once it runs.

    Parameters
    ----------
    settings, cluster
        As of `Session`.
    """

    def application(session: Session) -> Application:
        return Application(
            [
                *http_api.routes(session),
                *stream_api.routes(session),
                *driver_api.routes(session),
                *inspection_api.routes(session),
                *view_api.routes(session),
            ]
        )

    return Session(settings, cluster, application)


def run(settings: dict[str, Any], cluster: Cluster | None, ready: Callable[[], None]) -> None:
    """Run a session in this process.

    Parameters
    ----------
    settings : dict
        From the kernel: configuration, directories, secrets.
    cluster : Cluster or None
        The embedded Mesos, if the session has one.
    ready : callable
        Called when kernels can connect.

    Raises
    ------
    SessionError
        When it cannot serve.
    """
    level = os.environ.get("T2_LOG", "WARNING").upper()
    if level not in (levels := logging.getLevelNamesMapping()):
        raise SessionError(f"T2_LOG is {level}; give one of {', '.join(levels)}")
    logging.basicConfig(
        stream=sys.stderr,
        level=level,
        format="%(asctime)s %(name)s: %(message)s",
    )

    # Else the collector looks through all events and workers again and again: they stay, and are in no cycles.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)

    async def _run() -> None:
        await make_session(settings, cluster).run(ready)

    asyncio.run(_run())
