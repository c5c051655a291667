"""The interface between an agent's decisions and the world: `main.AgentProcess` provides it, and tests can fake it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ...common.task_states import Json
from ..containerizer.docker.command_line import Engine
from ..containerizer.limits import Limits
from ..containerizer.sandbox import User


@dataclass(frozen=True)
class Fetching:
    """An order to the fetcher: the URIs, the sandbox, its user.

    Attributes
    ----------
    cancelled
        Tells whether nobody wants the files any more.
    """

    uris: list[Json]
    directory: str
    user: User
    cancelled: Callable[[], bool]


@dataclass(frozen=True)
class Connecting:
    """A port of this machine, and what to ask for there.

    Attributes
    ----------
    path
        None for nothing but a connection.
    timeout
        Seconds.
    """

    port: int
    path: str | None
    scheme: str
    timeout: float


class Runtime(Protocol):
    """Everything that is not a decision."""

    def send(self, message: Json) -> None:
        """Send a message to the master."""

    def launch(self, request: Json) -> None:
        """Have the launcher start a container."""

    def signal(self, container_id: str, signum: int) -> None:
        """Signal every process of a container."""

    def destroy(self, container_id: str) -> None:
        """Kill a container; `Agent.container_exited` is called when nothing is left of it."""

    def fetch(self, what: Fetching, done: Callable[[str | None], None]) -> None:
        """Fetch into a sandbox, and call `done` with None or what went wrong."""

    # Containers with images

    def has_engine(self) -> bool:
        """Tell whether this host has a container engine."""

    def provide_image(self, image: str, *, pull: bool, done: Callable[[str | None], None]) -> None:
        """Have an image at hand, and call `done` with None or Mesos's message of what went wrong.

        Parameters
        ----------
        pull
            Ask the registry even if it is there.
        """

    def engine(self) -> tuple[Engine, str]:
        """Give the engine that provided an image, and the owner that its containers are to name."""

    def connect(self, where: Connecting, done: Callable[[int | bool | None], None]) -> None:
        """Try a connection; `done` gets whether it stood, or the answer's status code; None for nothing in time."""

    def later(self, seconds: float, call: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        """Call something later."""

    def now(self) -> float:
        """Give a steady clock's time (seconds)."""

    # Limits

    def limit(self, container_id: str, limits: Limits) -> None:
        """Set what a container and those nested in it may use."""

    def over_memory(self, container_id: str) -> str | None:
        """Give Mesos's message if the kernel found no memory for a container any more."""

    def release(self, container_id: str) -> None:
        """Forget a container's limits: nothing of it is left."""

    # Garbage collection

    def schedule_gc(self, directory: str) -> None:
        """Have a directory removed when it is old enough; its age counts from now."""

    def unschedule_gc(self, directory: str) -> None:
        """Take a directory back: something lives in it again."""
