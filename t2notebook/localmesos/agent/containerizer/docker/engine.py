"""The container engine of an agent: found, asked, and made to hold images and limits. Its commands are processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
from collections.abc import Coroutine, Iterable

from ....common import processes
from ..limits import Limits, over_limit_message
from . import command_line
from .command_line import DOCKER, PODMAN, Engine

log = logging.getLogger(__name__)

NONE = "none"
"""What `--docker` says for no engine at all."""

ANSWERS, PULLS, REMOVES = 30.0, 1800.0, 20.0
"""Seconds for an answer, for a pull, and for the last removal when all ends."""

OUT_OF_MEMORY_CODE = 137
"""The exit status of a container that was killed by SIGKILL."""


class EngineError(Exception):
    """A refusal or failure of the engine; the text is for the task's message."""


class EngineClient:
    """One agent's view of the container engine, inside its loop.

    Parameters
    ----------
    program
        Its command line: a name or path; empty for podman or docker, whichever is on PATH.
    owner
        The launcher's identity, for the containers' labels.
    directory
        Where clients of running containers have their own directories.
    cfs
        Cpus are a limit, not a share.
    """

    def __init__(self, program: str, owner: str, directory: str, *, cfs: bool) -> None:
        self._wanted = program
        self._directory = directory
        self._cfs = cfs
        self.owner = f"{_namespace()}/{owner}"
        self._engine: Engine | None = None
        self._swept = False
        self._limits: dict[str, Limits] = {}
        self._set: dict[str, Limits] = {}
        self._updating: set[str] = set()
        self._out_of_memory: set[str] = set()
        self._pulls: dict[str, asyncio.Task[str | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def program(self) -> str | None:
        """Find the engine's command line; None where there is none."""
        if not processes.LINUX or self._wanted == NONE:
            return None
        names = [self._wanted] if self._wanted else [PODMAN, DOCKER]
        return next((found for name in names if (found := shutil.which(name)) is not None), None)

    @property
    def engine(self) -> Engine:
        """Give the engine, which has answered."""
        assert self._engine is not None
        return self._engine

    async def provide(self, image: str, *, pull: bool) -> str | None:
        """Have an image at hand; give Mesos's message if that cannot be.

        Parameters
        ----------
        pull
            Ask the registry even if it is there (`force_pull_image`).
        """
        try:
            await self._find()
            await self._sweep_once()
            if not pull and await self._has(image):
                return None
        except EngineError as error:
            return f"Failed to launch container: {error}"
        # Several executors that want the same image wait for one pull.
        task = self._pulls.get(image)
        if task is None:
            task = self._pulls[image] = asyncio.ensure_future(self._pull(image))
            task.add_done_callback(lambda _: self._pulls.pop(image, None))
        return await asyncio.shield(task)

    async def _pull(self, image: str) -> str | None:
        arguments = [self.engine.program, "pull", image]
        try:
            code, _, error = await _run(arguments, PULLS)
        except EngineError as failure:
            return f"Failed to launch container: {failure}"
        if code == 0:
            return None
        shown = f"'{' '.join(arguments)}'"
        return f"Failed to launch container: Failed to run {shown}: exited with status {code}; stderr='{_why(error)}'"

    async def _has(self, image: str) -> bool:
        code, _, _ = await _run([self.engine.program, "image", "inspect", image], ANSWERS)
        return code == 0

    async def _find(self) -> None:
        if self._engine is not None:
            return
        program = self.program()
        if program is None:
            raise EngineError("the container engine is gone")
        code, out, error = await _run([program, "info", "--format", "{{json .}}"], ANSWERS)
        try:
            # Docker's client prints what it knows of itself, and then that it reached nobody.
            self._engine = command_line.read_info(program, out)
            if code:
                self._engine = None
                raise ValueError(_why(error))
        except ValueError as problem:
            why = _why(error) or str(problem)
            raise EngineError(f"Cannot connect to the container engine by '{program}': {why}") from None

    # Limits

    def limit(self, container_id: str, limits: Limits) -> None:
        """Set what a container may use; the first limits are those that it is started with."""
        first = container_id not in self._limits
        self._limits[container_id] = limits
        if first:
            self._set[container_id] = limits
        elif self._set.get(container_id) != limits and container_id not in self._updating:
            self._updating.add(container_id)
            self._keep(self._update(container_id))

    async def _update(self, container_id: str) -> None:
        try:
            await self._find()
            while (limits := self._limits.get(container_id)) is not None:
                before = self._set.get(container_id)
                if limits == before or not self.engine.limits:
                    return
                wanted = _never_less_memory(limits, before)
                code, _, error = await _run(
                    command_line.update(self.engine, container_id, wanted, cfs=self._cfs), ANSWERS
                )
                if code:
                    # Not made yet: it is told again when its executor has registered.
                    log.info("container %s keeps its limits: %s", container_id, _why(error))
                    return
                self._set[container_id] = limits
        except EngineError as error:
            log.warning("container %s keeps its limits: %s", container_id, error)
        finally:
            self._updating.discard(container_id)

    def ended(self, container_id: str, status: int | None, printed: str) -> None:
        """Learn from the launcher what the engine said of a container at its end.

        Parameters
        ----------
        status
            The raw wait status of the engine's client.
        printed
            By `command_line.end`.
        """
        killed = status is not None and os.WIFEXITED(status) and os.WEXITSTATUS(status) == OUT_OF_MEMORY_CODE
        if killed and "true" in printed.split():
            self._out_of_memory.add(container_id)

    def over_memory(self, container_id: str) -> str | None:
        """Give Mesos's message if a container was killed because its memory ran out."""
        if container_id not in self._out_of_memory:
            return None
        limits = self._limits.get(container_id)
        most = None if limits is None else limits.memory_bytes
        return over_limit_message(most, most or 0, "the container engine says that its memory ran out")

    def release(self, container_id: str) -> None:
        """Forget a container, of which nothing is left."""
        self._limits.pop(container_id, None)
        self._set.pop(container_id, None)
        self._out_of_memory.discard(container_id)
        shutil.rmtree(self.client_directory(container_id), ignore_errors=True)

    # What would be left

    def client_directory(self, container_id: str) -> str:
        """Give the directory that a container's client is started in."""
        return os.path.join(self._directory, container_id)

    def has_run_something(self) -> bool:
        """Tell whether an earlier agent here left containers, or could have."""
        return os.path.isdir(self._directory) and bool(os.listdir(self._directory))

    async def sweep(self) -> None:
        """Remove containers of agents whose launcher is dead, and forget what theirs were."""
        with contextlib.suppress(EngineError):
            await self._find()
            await self._sweep_once()

    async def _sweep_once(self) -> None:
        if self._swept:
            return
        self._swept = True
        try:
            code, out, error = await _run(command_line.leftovers(self.engine), ANSWERS)
            if code:
                raise EngineError(_why(error))
            if names := _orphans(out):
                log.info("removing containers of dead agents: %s", ", ".join(names))
                await _run(command_line.remove(self.engine, names), ANSWERS)
        except EngineError as error:
            log.warning("containers of dead agents are not looked for: %s", error)

    def remove_now(self, container_ids: Iterable[str]) -> None:
        """Remove containers at once, since the launcher is gone that would do it."""
        names = [command_line.PREFIX + one for one in container_ids]
        if names and self._engine is not None:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(
                    command_line.remove(self._engine, names),
                    capture_output=True,
                    timeout=REMOVES,
                    check=False,
                )

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _never_less_memory(limits: Limits, before: Limits | None) -> Limits:
    # A lower one could kill what has not given its memory back yet.
    if before is None or limits.memory_bytes is None:
        return limits
    had = before.memory_bytes
    if had is None or had <= limits.memory_bytes:
        return limits
    return Limits(limits.cpus, before.mem, limits.cpu_limit, before.mem_limit)


def _namespace() -> str:
    """Name the machine's boot and the process namespace, in which a launcher's pid means something."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return "-"


def _orphans(listing: str) -> list[str]:
    """Find the containers whose launchers are dead, in `command_line.leftovers`' output."""
    found, here = [], _namespace()
    for line in listing.splitlines():
        name, _, owner = line.strip().partition(" ")
        space, _, launcher = owner.rpartition("/")
        pid, _, start = launcher.partition("-")
        if space != here or not (pid.isdigit() and start.isdigit()):
            continue
        if not processes.alive(int(pid), start):
            found.append(name)
    return found


async def _run(arguments: list[str], seconds: float) -> tuple[int, str, str]:
    """Run a command of the engine's; give its exit status, stdout and stderr.

    Raises
    ------
    EngineError
        It cannot be started, or does not end in time.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineError(f"Cannot connect to the container engine: {error.strerror}") from None
    try:
        out, complaints = await asyncio.wait_for(process.communicate(), seconds)
    except (TimeoutError, asyncio.CancelledError) as problem:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if isinstance(problem, asyncio.CancelledError):
            raise
        shown = " ".join(arguments[:2])
        raise EngineError(f"Failed to run '{shown} ...': it did not answer for {seconds:g} s") from None
    return process.returncode or 0, out.decode("utf-8", "replace"), complaints.decode("utf-8", "replace")


def _why(stderr: str) -> str:
    """Give the line of an engine's complaints that says why."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if line.lower().startswith(("error", "docker:", "cannot"))]
    return (telling or lines or [""])[-1]
