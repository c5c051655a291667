"""Jobs as they are asked for: `Twister2Job` and `ComputeResource`, checked the moment they are made."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, asdict, dataclass, field, fields
from typing import Any

from .container_image import NO_IMAGE, ContainerImage, is_image_name
from .errors import SubmitError
from .placement import Constraint, parse_where
from .process import user_name
from .text import sendable
from .units import mebibytes_of
from .wording import type_of

#: As many workers in one executor as the offer holds.
MAX = "max"
#: Cpus, and MiB, of a worker that does not say.
DEFAULT_CPU, DEFAULT_RAM = 1.0, 512.0

#: Origin of the time part of job ids, in ms since 1970 (Twister2, ``JobIDUtils``).
JOB_ID_EPOCH_MS = 1546290000000
JOB_ID_PATTERN = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
#: Cpus, and MiB, of a job master that runs on the cluster.
JOB_MASTER_CPU, JOB_MASTER_RAM = 0.2, 256.0
#: Twister2's ``twister2.fault.tolerance.max.worker.restarts``.
MAX_WORKER_RESTARTS = 5
#: More than any machine has; what is larger is a slip.
_LIMIT = 1e9
#: Characters of a job's name that are kept.
MAX_PATH = 1024
MAX_NAME = 200
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class ComputeResource:
    """Resources of one kind of worker; all figures are per worker.

    Parameters
    ----------
    cpu : float
        Cpus, more than 0; Mesos counts in thousandths.
    ram_mega_bytes : float
        Memory in MiB, more than 0.
    disk_giga_bytes : float
        Disk in GiB.
    instances : int
        How many workers of this kind.
    workers_per_executor : int or "max"
        How many workers share one executor; the last one may hold fewer. With ``"max"``, as many as an offer
        holds.
    scalable : bool
        Whether the number of these workers may change while the job runs (`Job.scale_up_workers`).
    gpus : int
        Whole GPUs.
    ports : int
        How many ports each worker gets from the offer; it finds them as ``env.additional_ports``.
    image : str
        The container image that these workers run in: it has to have `/bin/sh` and the notebook's version of CPython.
        Empty: none, they run in the agent's own file system.
    cpus : float, optional
        Another spelling of `cpu`.
    ram : float or str, optional
        Another spelling of `ram_mega_bytes`: MiB, or a text such as ``"1GB"``.

    Raises
    ------
    SubmitError
        When a figure cannot be: the message names it and says what is allowed.
    """

    cpu: float = DEFAULT_CPU
    ram_mega_bytes: float = DEFAULT_RAM
    disk_giga_bytes: float = 0.0
    instances: int = 1
    workers_per_executor: int | str = 1
    scalable: bool = False
    gpus: int = 0
    ports: int = 0
    image: str = ""
    cpus: InitVar[float | None] = field(default=None, kw_only=True)
    ram: InitVar[float | str | None] = field(default=None, kw_only=True)

    def __post_init__(self, cpus: float | None, ram: float | str | None) -> None:
        object.__setattr__(self, "cpu", one_spelling("cpu", self.cpu, "cpus", cpus, DEFAULT_CPU))
        mega = ram if ram is None else mebibytes_of(ram)
        mega = one_spelling("ram_mega_bytes", self.ram_mega_bytes, "ram", mega, DEFAULT_RAM)
        object.__setattr__(self, "ram_mega_bytes", mega)
        _positive("cpu", self.cpu, "--cpus")
        if self.cpu < 0.001:
            raise SubmitError(f"cpu is {self.cpu:g}; Mesos counts in thousandths, so ask for 0.001 or more")
        _positive("ram_mega_bytes", self.ram_mega_bytes, "--ram")
        _not_negative("disk_giga_bytes", self.disk_giga_bytes)
        for name in ("cpu", "ram_mega_bytes", "disk_giga_bytes"):
            if getattr(self, name) > _LIMIT:
                raise SubmitError(f"{name} is {getattr(self, name):g}; no agent has more than {_LIMIT:g}")
        _whole("instances", self.instances, minimum=1)
        if not isinstance(self.scalable, bool):
            raise SubmitError(f"scalable is {self.scalable!r}; give True or False")
        _whole("gpus", self.gpus, minimum=0)
        _whole("ports", self.ports, minimum=0)
        if self.image and not is_image_name(self.image):
            raise SubmitError(
                f"image is {self.image!r}; give the name of a container image, such as 'python:3.12-slim' or "
                "'registry:5000/team/image:tag' (--image)"
            )
        if self.workers_per_executor != MAX:
            _whole("workers_per_executor", self.workers_per_executor, minimum=1, also=' or "max"')


@dataclass(frozen=True)
class Placement:
    """On which agents the workers of a job may run, and whether they start together.

    Parameters
    ----------
    nodes : tuple of str
        Host names of agents (Twister2's ``desired_nodes``), also as one text with commas; empty: any.
    where : str
        Constraints on the agents' attributes: ``rack=r1,zone!=b,unique:hostname,spread:rack``; empty: none.
        Values with a comma or ``|`` stand in quotes: ``note="a,b"``. The module `t2notebook.model.placement` says
        what they mean.
    gang : bool
        Launch all workers at once, or none.
    gang_timeout : float
        Seconds for which offers are gathered for a gang before they are let go.

    Raises
    ------
    SubmitError
        When `where` cannot be understood, a node is no name or the time-out no time.
    """

    nodes: tuple[str, ...] = ()
    where: str = ""
    gang: bool = False
    gang_timeout: float = 30.0

    def __post_init__(self) -> None:
        nodes = self.nodes.split(",") if isinstance(self.nodes, str) else tuple(self.nodes)
        if not all(isinstance(node, str) for node in nodes):
            raise SubmitError(f"nodes is {self.nodes!r}; give the host names of agents")
        nodes = tuple(node.strip() for node in nodes)
        if self.nodes and not all(nodes):
            raise SubmitError(f"nodes is {self.nodes!r}; one of the names is empty")
        object.__setattr__(self, "nodes", nodes if self.nodes else ())
        if not isinstance(self.where, str):
            raise SubmitError(f"where is {self.where!r}; give a text such as 'rack=r1,unique:hostname'")
        parse_where(self.where)
        if not isinstance(self.gang, bool):
            raise SubmitError(f"gang is {self.gang!r}; give True or False")
        if _number("gang_timeout", self.gang_timeout) <= 0:
            raise SubmitError(f"gang_timeout is {self.gang_timeout:g}; give seconds, more than 0")

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The constraints of `where`."""
        return parse_where(self.where)


@dataclass(frozen=True)
class FaultTolerance:
    """Limits to failures, and times to wait, of a job.

    Parameters
    ----------
    max_worker_restarts : int
        How often one worker is started again before it, and with it the job, counts as failed.
    launch_timeout : float
        Seconds within which a launched worker must run; then it is started elsewhere.
    unreachable_timeout : float
        Seconds that a worker may be unreachable before another is started in its place.
    failure_timeout : float
        Seconds for which nothing is heard of a running worker, neither from its executor nor from itself, until
        another is started in its place; 0: for ever. A worker that is busy is vouched for by its executor.
    keep_going : bool
        Let the other workers go on when one has failed; the job counts as failed when all have ended.
    max_reexecutes : int
        How often all workers begin anew together, from the init barrier, when one of them has failed and is started
        again. With 0 they are told at their next barrier (`JobFaulty`), and their code decides.
    """

    max_worker_restarts: int = MAX_WORKER_RESTARTS
    launch_timeout: float = 300.0
    unreachable_timeout: float = 120.0
    keep_going: bool = False
    max_reexecutes: int = 0
    failure_timeout: float = 60.0

    def __post_init__(self) -> None:
        _not_negative("failure_timeout", self.failure_timeout)
        _whole("max_reexecutes", self.max_reexecutes, minimum=0)
        if not isinstance(self.keep_going, bool):
            raise SubmitError(f"keep_going is {self.keep_going!r}; give True or False")
        _whole("max_worker_restarts", self.max_worker_restarts, minimum=0)
        _positive("launch_timeout", self.launch_timeout, "seconds")
        _not_negative("unreachable_timeout", self.unreachable_timeout)


@dataclass(frozen=True)
class Twister2Job:
    """A job: a worker function, how many workers with which resources, and a configuration.

    Parameters
    ----------
    name : str
        The job's name; letters, digits and hyphens of it become part of the job id.
    worker : callable
        ``fn(env)``, run by every worker.
    resources : sequence of ComputeResource
        The number of workers is the sum of their `instances`; worker ids are given in this order. At most one may be
        scalable; it comes last, wherever it stands.
    config : mapping
        The worker finds it as ``env.config``.
    placement : Placement
        On which agents, and whether all workers start together.
    faults : FaultTolerance
        How often a worker is started again, and how long is waited.

    Raises
    ------
    SubmitError
        When the job has no callable worker or no worker at all.
    """

    name: str
    worker: Callable[..., Any]
    resources: Sequence[ComputeResource] = field(default_factory=lambda: (ComputeResource(),))
    config: Mapping[str, Any] = field(default_factory=dict)
    placement: Placement = field(default_factory=Placement)
    faults: FaultTolerance = field(default_factory=FaultTolerance)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise SubmitError("a job needs a name, for example name='pi'")
        object.__setattr__(self, "name", sendable(self.name, MAX_NAME))
        if not callable(self.worker):
            raise SubmitError(
                f"worker is {type_of(self.worker)}, not callable; give a function that takes env"
            )
        if isinstance(self.resources, ComputeResource):
            object.__setattr__(self, "resources", (self.resources,))
        object.__setattr__(self, "resources", tuple(self.resources))
        if not self.resources:
            raise SubmitError("a job needs at least one ComputeResource")
        for resource in self.resources:
            if not isinstance(resource, ComputeResource):
                raise SubmitError(f"resources holds {type_of(resource)}; give ComputeResource objects")
        scalable = [resource for resource in self.resources if resource.scalable]
        if len(scalable) > 1:
            raise SubmitError(f"{len(scalable)} of the resources are scalable; at most one can be")
        # As in Twister2: its workers have the highest ids, which come and go.
        fixed = (resource for resource in self.resources if not resource.scalable)
        object.__setattr__(self, "resources", (*fixed, *scalable))
        if not isinstance(self.config, Mapping):
            raise SubmitError(f"config is {type_of(self.config)}; give a dict")

    @property
    def number_of_workers(self) -> int:
        """Sum of `instances` over the resources."""
        return sum(resource.instances for resource in self.resources)


@dataclass(frozen=True)
class JobSpec:
    """The description of a job for its session: everything but its code, which travels as a package.

    Parameters
    ----------
    name, user : str
        As they stand in the job id.
    resources : tuple of ComputeResource
        As in `Twister2Job`.
    package : str
        Digest of the job package.
    package_size : int
        Bytes.
    python : str
        ``major.minor`` of the Python that made the package.
    on_exit : str
        ``"kill"`` or ``"detach"``: what a clean exit of the submitting kernel does to the job.
    placement : Placement
    faults : FaultTolerance
    package_seconds : float
        How long making the package took.
    path : tuple of str
        Where its workers find modules, if they run on the kernel's own machine: the kernel's ``sys.path``.
    environment : mapping
        Environment variables of its workers there.
    notebook : str
        The path of the notebook that it was submitted from; empty if nobody says it.
    preload : tuple of str
        Modules that executors import before they make workers' processes.
    credentials : tuple of str
        Names of the secrets that its workers are given; what they are stands in no record.
    persistent_volume : str
        A directory that all agents have, or an address of fsspec, for what outlives the workers; empty: none.
    restore_jobs : tuple of str
        Jobs whose checkpoints this one goes on with, if it is a restarted one, the last one first.
    time_limit : float
        Seconds that it may take from when its first worker runs; 0: as long as it likes.
    setenv : mapping
        Environment variables of the kernel's that its workers are given, wherever they run.
    debug : bool
        Whether an exception that nobody catches holds its worker for the debugger.
    debug_timeout : float
        Seconds that a worker waits in the debugger for somebody to attach.
    discovery : str
        ``zk://h1:2181,h2:2181/path``, where its workers find each other; empty: with their job master.
    job_master : ComputeResource or None
        Resources of its job master, if that is to run as a task on Mesos; None: it is in the session.
    serves : str
        The job whose job master this one is; empty for jobs of people.
    """

    name: str
    user: str
    resources: tuple[ComputeResource, ...]
    package: str
    package_size: int
    python: str
    on_exit: str = "kill"
    placement: Placement = field(default_factory=Placement)
    faults: FaultTolerance = field(default_factory=FaultTolerance)
    package_seconds: float = 0.0
    path: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    notebook: str = ""
    preload: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    persistent_volume: str = ""
    restore_jobs: tuple[str, ...] = ()
    time_limit: float = 0.0
    setenv: Mapping[str, str] = field(default_factory=dict, repr=False)
    debug: bool = False
    debug_timeout: float = 600.0
    discovery: str = ""
    job_master: ComputeResource | None = None
    serves: str = ""

    def __post_init__(self) -> None:
        for name in ("name", "user"):
            object.__setattr__(self, name, sendable(getattr(self, name), MAX_NAME))
        object.__setattr__(self, "notebook", sendable(self.notebook, MAX_PATH))

    @property
    def number_of_workers(self) -> int:
        """The number of workers at first: the sum of `instances` over the resources."""
        return sum(resource.instances for resource in self.resources)

    @property
    def scalable(self) -> ComputeResource | None:
        """The resource whose workers may be more or fewer later, if there is one."""
        last = self.resources[-1]
        return last if last.scalable else None

    def resource_of(self, worker_id: int) -> ComputeResource:
        """Return the resources of a worker; of one that came later, those of the scalable resource.

        Raises
        ------
        IndexError
            When there can be no such worker.
        """
        first = 0
        for resource in self.resources:
            first += resource.instances
            if worker_id < first:
                return resource
        if self.scalable is not None:
            return self.scalable
        raise IndexError(f"job {self.name} has no worker {worker_id}")

    def image_of(self, resource: ComputeResource) -> ContainerImage:
        """Return the surroundings of the workers of a resource: the image, and the volumes that they need there."""
        if not resource.image:
            return NO_IMAGE
        volume = self.persistent_volume
        return ContainerImage(resource.image, (volume,) if volume.startswith("/") else ())

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready record."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> JobSpec:
        """Inverse of `to_dict`; unknown fields of a newer version are ignored."""
        known = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        for name in ("path", "preload", "credentials", "restore_jobs"):
            known[name] = tuple(known.get(name, ()))
        known["resources"] = tuple(_known(ComputeResource, resource) for resource in record["resources"])
        for name, kind in (
            ("placement", Placement),
            ("faults", FaultTolerance),
            ("job_master", ComputeResource),
        ):
            if known.get(name) is not None:
                known[name] = _known(kind, known[name])
        return cls(**known)


def make_job_id(name: str, *, user: str | None = None, now_ms: int) -> str:
    """Return a job id of Twister2's form ``<user, 9>-<name, 30>-<base36 time>``, at most 49 characters.

    Parameters
    ----------
    name : str
        Job name; what is no lower-case letter, digit or hyphen is dropped or folded.
    user : str, optional
        The submitting user; by default the one who runs this process.
    now_ms : int
        Milliseconds since 1970; two ids of one user and name differ if this does.
    """
    who = _fold(user if user is not None else user_name())[:9].strip("-") or "user"
    if not who[0].isalpha():
        who = "u" + who[:8]
    what = _fold(name)[:30].strip("-") or "job"
    return f"{who}-{what}-{_base36(now_ms - JOB_ID_EPOCH_MS)}"


def one_spelling(name: str, value: Any, other: str, given: Any, default: Any) -> Any:
    """Return the value of what has two spellings, of which one may be given.

    Parameters
    ----------
    name : str
    value
        The first spelling, and its value.
    other : str
    given
        The second spelling, and its value.
    default
        The value of `value` that nobody gave.

    Raises
    ------
    SubmitError
        When both are, and differ.
    """
    if given is None or value == given:
        return value
    if value is not default:  # the very object: who writes the default's value has given it, too
        raise SubmitError(f"{name} is {value!r} and {other} is {given!r}; they mean the same, so give one")
    return given


def _known(kind: Any, record: Mapping[str, Any]) -> Any:
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in record.items() if name in names})


def _fold(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, last = divmod(number, 36)
        digits = _DIGITS[last] + digits
        if not number:
            return digits


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SubmitError(f"{name} is {value!r}; give a number")
    return float(value)


def _positive(name: str, value: Any, option: str) -> None:
    if _number(name, value) <= 0:
        raise SubmitError(f"{name} is {value:g}; a worker needs more than 0 ({option})")


def _not_negative(name: str, value: Any) -> None:
    if _number(name, value) < 0:
        raise SubmitError(f"{name} is {value:g}; it cannot be negative")


def _whole(name: str, value: Any, *, minimum: int, also: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise SubmitError(f"{name} is {value!r}; give a whole number from {minimum}{also}")
