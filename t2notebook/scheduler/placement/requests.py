"""Records of a match: requests for resources, running executors, launches and accepted offers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...model.container_image import NO_IMAGE, ContainerImage
from ...model.job import MAX, ComputeResource, Placement
from ...model.placement import Attributes
from .offers import Json, Offer


@dataclass(frozen=True)
class ResourceRequest:
    """Workers of one job that wait for the same resources.

    Parameters
    ----------
    job_id : str
    worker_ids : sequence of int
    resource : ComputeResource
    placement : Placement
    gang : bool
        Place all workers of the job's requests, or none.
    number_of_workers : int
        Of the whole job, for spread limits; by default those that wait.
    image : ContainerImage
        The image that they run in: they share executors only with workers of the same.
    """

    job_id: str
    worker_ids: Sequence[int]
    resource: ComputeResource
    placement: Placement = field(default_factory=Placement)
    gang: bool = False
    number_of_workers: int = 0
    image: ContainerImage = NO_IMAGE


@dataclass(frozen=True)
class RunningExecutor:
    """An executor of ours on an agent.

    Parameters
    ----------
    executor_id, agent : str
    job_id : str
        The job whose workers it runs; empty: it waits, warm.
    workers : int
        The number of workers that it runs.
    limit : int or "max"
        The smallest `workers_per_executor` of those that it runs.
    role : str
        The role to which its own resources are allocated; empty: not known. It runs no tasks of another role.
    image : ContainerImage
        The image that it runs in.
    """

    executor_id: str
    agent: str
    job_id: str = ""
    workers: int = 0
    limit: int | str = MAX
    role: str = ""
    image: ContainerImage = NO_IMAGE


@dataclass(frozen=True)
class WorkerLocation:
    """The agent and host of a worker that runs, or is about to."""

    agent: str
    host: str


@dataclass(frozen=True, slots=True)
class Launch:
    """A worker to be launched, in an executor that may be new.

    `resources` and `executor_resources` (of a new executor) are `Resource` objects carved from the offers;
    `ports` are the worker's, `attributes` its agent's, `image` is its executor's.
    """

    agent: str
    host: str
    executor_id: str
    job_id: str
    worker_id: int
    resource: ComputeResource
    new_executor: bool
    resources: tuple[Json, ...] = ()
    executor_resources: tuple[Json, ...] = ()
    ports: tuple[int, ...] = ()
    attributes: Attributes = field(default_factory=dict)
    image: ContainerImage = NO_IMAGE


@dataclass(frozen=True)
class Acceptance:
    """Offers of one agent that are accepted together, and what is launched on them."""

    agent: str
    host: str
    offers: tuple[Offer, ...]
    launches: tuple[Launch, ...]
