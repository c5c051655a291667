"""Submitting: a function or a cell becomes a job and its package, handed to a session."""

from __future__ import annotations

import os
import shutil
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Config, data_dir, get_config
from ..model.errors import SubmitError
from ..model.job import (
    MAX,
    ComputeResource,
    FaultTolerance,
    JobSpec,
    Placement,
    Twister2Job,
)
from ..model.process import user_name
from ..model.wording import type_of
from . import replacement, submit_options, surroundings
from .handles import _known, unfinished_named
from .job import Job
from .job_replica import JobReplica
from .notebook_directories import notebook_path
from .packing import Files, pack, tell
from .session_http import SessionEnding
from .session_link import Link, forget, link_for

if TYPE_CHECKING:
    from ..package.job_package import BuiltPackage


@dataclass(frozen=True)
class Prepared:
    """The content of a submit: the job and its package."""

    job: Twister2Job
    package: BuiltPackage

    @property
    def digest(self) -> str:
        """The package's digest."""
        return self.package.digest

    @property
    def size(self) -> int:
        """The package's size in bytes."""
        return self.package.size

    @property
    def contents(self) -> Mapping[str, int]:
        """Sizes in bytes of all that travels, by name."""
        return self.package.contents

    @property
    def files(self) -> Mapping[str, int]:
        """Files for the workers' current directory: bytes."""
        return self.package.files

    @property
    def notes(self) -> Sequence[str]:
        """Notes for the user, one line each."""
        return self.package.notes

    @property
    def resources(self) -> tuple[ComputeResource, ...]:
        """The workers' resources."""
        return tuple(self.job.resources)


def submit(
    job: Twister2Job | Callable[..., Any],
    *arguments: Any,
    workers: int = 1,
    cpu: float = ComputeResource.cpu,
    ram_mega_bytes: float = ComputeResource.ram_mega_bytes,
    cpus: float | None = None,
    ram: float | str | None = None,
    disk_giga_bytes: float = 0.0,
    name: str | None = None,
    workers_per_executor: int | str = MAX,
    config: Mapping[str, Any] | None = None,
    on_exit: str | None = None,
    gpus: int = 0,
    ports: int = 0,
    image: str = "",
    nodes: Sequence[str] | str = (),
    where: str = "",
    gang: bool = False,
    gang_timeout: float = Placement.gang_timeout,
    max_worker_restarts: int = FaultTolerance.max_worker_restarts,
    launch_timeout: float = FaultTolerance.launch_timeout,
    unreachable_timeout: float = FaultTolerance.unreachable_timeout,
    failure_timeout: float = FaultTolerance.failure_timeout,
    keep_going: bool = FaultTolerance.keep_going,
    max_reexecutes: int = FaultTolerance.max_reexecutes,
    replace: bool | Sequence[Job] = False,
    files: Files = (),
    preload: Sequence[str] = (),
    credentials: Mapping[str, str] | None = None,
    persistent_volume: str = "",
    time_limit: float | None = None,
    setenv: Sequence[str] = (),
    discovery: str = "",
    scalable: bool = False,
    job_master: str | ComputeResource = "session",
    debug: bool = False,
    debug_timeout: float = JobSpec.debug_timeout,
) -> Job:
    """Run a function on workers on Mesos.

    Parameters
    ----------
    job : callable or Twister2Job
        ``fn(env)``, run by every worker, or a whole job; then only `on_exit`, `replace` and `files` may be given,
        too. The environment goes to the parameter called ``env``, else to the first one without a default.
    *arguments
        Are refused, as nobody could tell what they are: a count of workers, or the function's own.
    workers : int
        How many workers.
    cpu, ram_mega_bytes, disk_giga_bytes : float
        For each worker: cpus, MiB of memory, GiB of disk.
    cpus : float, optional
        Another spelling of `cpu`.
    ram : float or str, optional
        Another spelling of `ram_mega_bytes`: MiB, or a text such as ``"1GB"``.
    name : str, optional
        By default the function's.
    workers_per_executor : int or "max"
        How many workers share an executor; by default as many as an offer holds.
    config : mapping, optional
        The workers find it as ``env.config``.
    on_exit : str, optional
        ``"kill"`` or ``"detach"``: what a clean exit of this kernel does to the job.
    gpus : int
        Whole GPUs for each worker.
    ports : int
        How many ports of its host each worker has to itself, as ``env.additional_ports``.
    image : str
        Container image that the workers run in, as ``"python:3.12-slim"``: it has to have ``/bin/sh`` and this
        notebook's version of CPython; what else workers import is the image's. The agents need a container engine.
    nodes : sequence of str, or str
        Host names of the agents that may be used; a text has commas between them.
    where : str
        Constraints on agents: ``"rack=r1,zone!=b,unique:hostname,spread:rack"``; values with a comma or ``|``
        stand in quotes: ``"note='a,b'"``. The module `t2notebook.model.placement` says what they mean.
    gang : bool
        Launch all workers at once, or none.
    gang_timeout : float
        Seconds for which offers are gathered for a gang before they are let go.
    max_worker_restarts : int
        How often one worker is started again before the job fails.
    launch_timeout : float
        Seconds within which a launched worker must run; then it is started elsewhere.
    unreachable_timeout : float
        Seconds that a worker may be unreachable before another is started in its place.
    failure_timeout : float
        Seconds for which nothing may be heard of a running worker, neither from its executor nor from itself, before
        another is started in its place; 0: for ever.
    max_reexecutes : int
        How often all workers begin anew together, from the init barrier on, when one has failed and is started again.
    keep_going : bool
        Let the other workers go on when one has failed; the job counts as failed when all have ended, and
        ``job.results(return_exceptions=True)`` has what each of them came to.
    replace : bool or sequence of Job
        Jobs to end first; True: the unfinished ones of the same name, all of this user's if `name` is given, else this
        kernel's.
    files : sequence of path, or path
        Files, folders and globs, relative to the current directory or to the notebook's: workers find them under the
        same relative path in their current directory.
    preload : sequence of str
        Modules that executors import before they make workers' processes, as ``("pandas",)``: each worker then has them
        at once, and so have those of later jobs that ask for the same. They are the agent's own, and limited to one
        thread in numeric libraries unless the worker says otherwise (``threadpoolctl``).
    credentials : mapping, optional
        Secrets, by name; workers find them as ``env.credentials``. They are kept in memory only, in this kernel, the
        session and the workers: no journal, file, environment or page of Mesos shows them. A worker that is to be
        started when both kernel and session have ended can have them no more, and says so.
    persistent_volume : str
        A directory that all agents have (on NFS, for instance), or an address of fsspec (``s3://bucket/t2``): there a
        worker has ``env.persistent_volume``, a directory of its own that outlives it, and ``env.checkpoint`` its
        versions.
    time_limit : float, optional
        Seconds after which the job is ended, from when its first worker runs.
    setenv : sequence of str
        Names of environment variables of this process that the workers are given as well.
    discovery : str
        ``"zookeeper"``: workers find each other, and meet at barriers, in the ZooKeeper that the setting `zookeeper`
        names (else in that of a ``zk://`` master), with no session in between; or that ZooKeeper itself, as
        ``"zk://h1:2181,h2:2181/path"``. By default they ask their job master.
    scalable : bool
        Whether the number of workers may change while the job runs (`Job.scale_up_workers`).
    job_master : str or ComputeResource
        ``"cluster"``: the job master runs as a task on Mesos, so that barriers and messages between workers go on while
        no session lives, with 0.2 cpus and 256 MiB, or with the resources that are given here. By default it is a part
        of the session.
    debug : bool
        Whether an exception that nobody catches holds its worker until you have looked at it with `Job.debug`. A
        ``breakpoint()`` does so in any job.
    debug_timeout : float
        Seconds that a worker waits in the debugger for somebody to attach; then it goes on, or ends.

    Returns
    -------
    Job
        At once, when the job is safe with the session; it starts when there are resources.

    Raises
    ------
    SubmitError
        When something cannot be; nothing is submitted.
    SessionError
        When the session process cannot be started.
    """
    if arguments:
        raise SubmitError(_positional(job, arguments))
    settings = get_config()
    if not isinstance(replace, bool) and not all(isinstance(one, Job) for one in replace):
        raise SubmitError(f"replace is {replace!r}; give True, or a list of jobs")
    ending = on_exit or settings.on_exit
    if ending not in ("kill", "detach"):
        raise SubmitError(f"on_exit is {on_exit!r}; give 'kill' or 'detach'")
    described = _describe(
        job,
        workers,
        cpu,
        ram_mega_bytes,
        cpus=cpus,
        ram=ram,
        disk_giga_bytes=disk_giga_bytes,
        name=name,
        workers_per_executor=workers_per_executor,
        config=config,
        gpus=gpus,
        ports=ports,
        image=image,
        nodes=nodes,
        where=where,
        gang=gang,
        gang_timeout=gang_timeout,
        max_worker_restarts=max_worker_restarts,
        launch_timeout=launch_timeout,
        unreachable_timeout=unreachable_timeout,
        failure_timeout=failure_timeout,
        keep_going=keep_going,
        max_reexecutes=max_reexecutes,
        scalable=scalable,
    )
    if discovery and any(resource.scalable for resource in described.resources):
        raise SubmitError(
            f"discovery is {discovery!r}, and a resource is scalable: workers of a job that can be scaled find each "
            "other through the job master, so leave one of the two out"
        )
    spool = spool_directory()
    try:
        begun = time.perf_counter()
        package = pack(described, spool, files)
        tell(package)  # where warnings are errors, nothing is submitted
        is_here = surroundings.is_embedded(settings)
        spec = JobSpec(
            name=described.name,
            user=user_name(),
            resources=tuple(described.resources),
            package=package.digest,
            package_size=package.size,
            python=package.python,
            on_exit=ending,
            placement=described.placement,
            faults=described.faults,
            package_seconds=time.perf_counter() - begun,
            path=surroundings.module_path() if is_here else (),
            environment=surroundings.variables() if is_here else {},
            notebook=notebook_path(),
            preload=submit_options.module_names("preload", preload),
            credentials=tuple(submit_options.secrets(credentials)),
            persistent_volume=submit_options.volume(persistent_volume),
            time_limit=submit_options.time_limit(time_limit),
            setenv=submit_options.variables(setenv),
            discovery=submit_options.zookeeper(discovery, settings),
            job_master=submit_options.job_master_resource(job_master),
            debug=submit_options.flag("debug", debug),
            debug_timeout=submit_options.seconds("debug_timeout", debug_timeout),
        )
        if replace:
            is_named = described is job or name is not None
            replacement.end_jobs(_replaced(replace, described, is_named), described.name)
        link, replica = hand_over(settings, spec, package.path, submit_options.secrets(credentials))
    finally:
        shutil.rmtree(spool, ignore_errors=True)
    handle = _known[replica.job_id] = Job(link, spec, replica)
    return handle


def _positional(job: Any, arguments: tuple[Any, ...]) -> str:
    name = getattr(job, "__name__", "fn")
    given = ", ".join(textwrap.shorten(repr(each), 40) for each in arguments)
    return (
        f"submit takes only the function without a name, not {given}: a count of workers is workers=N, "
        f"and arguments of the function's own go with it, as in t2.submit(lambda: {name}({given}))"
    )


def prepare(
    job: Twister2Job | Callable[..., Any], workers: int = 1, *, files: Files = (), **arguments: Any
) -> Prepared:
    """Make what `submit` would send, from the same arguments but `on_exit`, and send nothing.

    Parameters
    ----------
    job, workers, files, **arguments
        As of `submit`.

    Raises
    ------
    SubmitError
    """
    described = _describe(job, workers, **arguments)
    spool = spool_directory()
    try:
        return Prepared(described, pack(described, spool, files))
    finally:
        shutil.rmtree(spool, ignore_errors=True)


def _describe(
    job: Twister2Job | Callable[..., Any],
    workers: int,
    cpu: float = ComputeResource.cpu,
    ram_mega_bytes: float = ComputeResource.ram_mega_bytes,
    *,
    cpus: float | None = None,
    ram: float | str | None = None,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    workers_per_executor: int | str = MAX,
    **more: Any,
) -> Twister2Job:
    """Return the job; `more` are fields of `ComputeResource`, `Placement` and `FaultTolerance` by their names."""
    if unknown := set(more) - set(_DEFAULTS):
        raise TypeError(f"there is no argument {min(unknown)!r}")
    if isinstance(job, Twister2Job):
        others = {"cpu": cpu, "ram_mega_bytes": ram_mega_bytes, "cpus": cpus, "ram": ram, **more}
        is_default = all(value == _DEFAULTS.get(option) for option, value in others.items())
        if not is_default or (workers, name, config, workers_per_executor) != (1, None, None, MAX):
            raise SubmitError(
                "a Twister2Job says its workers and resources itself; give them there, not to submit"
            )
        return job
    if not callable(job):
        raise SubmitError(f"cannot run {type_of(job)}: give a function that takes env, or a Twister2Job")
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise SubmitError(f"workers is {workers!r}; give a whole number from 1 (--workers)")
    resource = ComputeResource(
        cpu=cpu,
        ram_mega_bytes=ram_mega_bytes,
        instances=workers,
        workers_per_executor=workers_per_executor,
        cpus=cpus,
        ram=ram,
        **_of(ComputeResource, more),
    )
    placement, faults = Placement(**_of(Placement, more)), FaultTolerance(**_of(FaultTolerance, more))
    return Twister2Job(name or _name_of(job), job, (resource,), config or {}, placement, faults)


#: What a job need not say, by the names of `submit`'s arguments.
_DEFAULTS = {
    field.name: field.default
    for kind in (ComputeResource, Placement, FaultTolerance)
    for field in fields(kind)
}


def _of(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `values` that are fields of a dataclass."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def _replaced(replace: bool | Sequence[Job], job: Twister2Job, is_named: bool) -> list[Job]:
    """Return the jobs that a new one takes the place of."""
    if not isinstance(replace, bool):
        return list(replace)
    ours = [known for known in _known.values() if known.name == job.name]
    return [*ours, *(unfinished_named(job.name) if is_named else ())]


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", "") or type(function).__name__
    return "job" if name == "<lambda>" else name.strip("_") or "job"


def hand_over(
    settings: Config, spec: JobSpec, package: Path, credentials: Mapping[str, str]
) -> tuple[Link, JobReplica]:
    """Give a job to the session; to the next one if this one is just ending.

    Parameters
    ----------
    settings : Config
    spec : JobSpec
    package : Path
        The job package's file; the session takes it.
    credentials : mapping
        Secrets of the job, kept in memory only.
    """
    link = link_for(settings)
    try:
        return link, link.post_job(spec, str(package), credentials)
    except SessionEnding:
        forget(link)
    link = link_for(settings)
    return link, link.post_job(spec, str(package), credentials)


def spool_directory() -> Path:
    """Return a new directory for a package on its way to the session.

    Raises
    ------
    SubmitError
        When it cannot be made.
    """
    spool = data_dir() / "spool"
    try:
        spool.mkdir(mode=0o700, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=spool))
    except OSError as error:
        raise SubmitError(
            f"nothing was submitted: {spool} cannot be written: {error.strerror}; "
            "JUPYTER_DATA_DIR names another folder"
        ) from None
