"""Address of the Dask scheduler: on the way from the agents to this machine, and never all interfaces unasked."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..client import surroundings
from ..client.session_link import link_for
from ..config import Config
from .requirements import DataflowError

#: Seconds for which the session is asked where its workers reach it.
PATIENCE = 30.0


@dataclass(frozen=True)
class ListenAddress:
    """An address to listen at, and the host under which others see it; empty: the same."""

    bind: str
    advertise: str = ""


def listen_address(config: Config) -> ListenAddress:
    """Return where workers reach a server on this machine, as the session has found out for its own.

    Raises
    ------
    DataflowError
        When the session does not find its master.
    """
    if surroundings.is_embedded(config):
        return ListenAddress("127.0.0.1")
    link = link_for(config)
    deadline = time.monotonic() + PATIENCE
    while True:
        info = link.reach().get("/v1/info")
        if host := urlsplit(info.get("worker_url", "")).hostname:
            if config.bind:
                return ListenAddress(config.bind, host if host != config.bind else "")
            return ListenAddress(host) if not config.advertise_host else ListenAddress("0.0.0.0", host)
        if time.monotonic() > deadline:
            raise DataflowError(
                f"the session has no address for workers: {info.get('trouble') or 'no master yet'}"
            )
        time.sleep(0.1)


def module_path() -> list[str]:
    """Return where this kernel finds modules, its own directory first: the scheduler unpickles what a client sends."""
    return list(dict.fromkeys(os.path.abspath(path) for path in sys.path))
