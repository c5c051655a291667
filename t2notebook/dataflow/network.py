"""Address of the Dask scheduler: on the way from the agents to this machine, and never all interfaces unasked."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def reserved_port(host: str) -> Iterator[int]:
    """Give a port at which a process of this machine is going to listen; 0 where none can be kept for it."""
    if sys.platform != "linux":
        yield 0
        return
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as holder:
        try:
            # Linux lets another socket that has this option, as tornado's have, listen where one is bound and does not.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((host, 0))
        except OSError:
            yield 0
        else:
            yield holder.getsockname()[1]


def address(scheme: str, host: str, port: int) -> str:
    """Return an address as `distributed` writes it.

    Parameters
    ----------
    scheme : str
        ``tcp`` or ``tls``.
    host : str
    port : int
    """
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
