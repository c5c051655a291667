"""The master's memory and what all its parts do with it: outputs, offers, statuses, the end of a framework. No I/O."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..common.ids import VERSION
from ..common.resources import Resources
from ..common.task_states import MAX_COMPLETED_FRAMEWORKS, TERMINAL, Json
from ..v1.schema import in_order
from .allocator.hierarchical import Allocator, Grant
from .model import Agent, Framework, Offer, Task

HEARTBEAT_SECONDS = 15.0
MASTER_CAPABILITIES = ("AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2")
HEARTBEAT: Json = {"type": "HEARTBEAT"}


@dataclass(frozen=True)
class ToStream:
    """Send an event to a framework's stream."""

    stream_id: str
    event: Json


@dataclass(frozen=True)
class EndStream:
    """End a framework's stream."""

    stream_id: str


@dataclass(frozen=True)
class ToAgent:
    """Send a message over an agent's link."""

    link: str
    message: Json


@dataclass(frozen=True)
class Save:
    """Write an agent into the registry; None strikes it out."""

    agent_id: str
    record: Json | None


Output = ToStream | EndStream | ToAgent | Save


class CallError(Exception):
    """A call that is answered with an error status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class MasterState:
    """The memory of a master, and the steps that its calls and its agents have in common.

    Parameters
    ----------
    ip, port
        Where frameworks reach it.
    agent_timeout
        Seconds of silence after which an agent is unreachable.
    policy, weights
        The allocator's.
    wall
        The clock of the times that show on the wire.

    Attributes
    ----------
    started, elected
        When it started and when it began to lead (seconds since 1970; None: it does not lead yet).
    out
        What is to be sent and saved; the edge takes it.
    streams
        The framework's id by that of its stream.
    """

    def __init__(
        self,
        ip: str,
        port: int,
        *,
        master_id: str | None = None,
        agent_timeout: float = 5.0,
        seed: int | None = None,
        policy: str = "drf",
        weights: Mapping[str, float] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.id = master_id or str(uuid.uuid4())
        self.ip, self.port = ip, port
        self.agent_timeout = agent_timeout
        self.wall = wall
        self.started = wall()
        self.elected: float | None = None
        self.out: list[Output] = []
        self.allocator = Allocator(seed=seed, policy=policy, weights=weights)
        self.weights = dict(weights or {})
        self.operators: set[str] = set()
        self.frameworks: dict[str, Framework] = {}
        self.completed: deque[Framework] = deque(maxlen=MAX_COMPLETED_FRAMEWORKS)
        self.removed_ids: set[str] = set()
        self.agents: dict[str, Agent] = {}
        self.recovered: dict[str, Json] = {}
        self.unreachable_ids: dict[str, float] = {}
        self.return_until: float | None = None
        self.offers: dict[str, Offer] = {}
        self.counters: dict[str, int] = {}
        self.idle_since: float | None = None
        self.streams: dict[str, str] = {}
        self._next_offer = 0
        self._next_framework = 0

    @property
    def info(self) -> Json:
        """Give the v1 MasterInfo."""
        packed = 0
        if self.ip.count(".") == 3:
            packed = int.from_bytes(bytes(int(part) for part in self.ip.split(".")), "little")
        return {
            "id": self.id,
            "ip": packed,
            "port": self.port,
            "pid": f"master@{self.ip}:{self.port}",
            "hostname": self.ip,
            "version": VERSION,
            "address": {"hostname": self.ip, "ip": self.ip, "port": self.port},
            "capabilities": [{"type": name} for name in MASTER_CAPABILITIES],
        }

    def count(self, name: str) -> None:
        """Count something for /metrics/snapshot."""
        self.counters[name] = self.counters.get(name, 0) + 1

    def busy(self) -> bool:
        """Tell whether somebody uses the cluster: a connected framework, or one that may come back to its tasks, also
        to those that have ended: until they are acknowledged, nobody has their results.
        """
        return any(framework.connected or framework.tasks for framework in self.frameworks.values())

    def all_tasks(self) -> tuple[list[Task], list[Task], list[Task]]:
        """Give the living, the unreachable and the ended tasks."""
        living = list(self.frameworks.values())
        alive = [task for framework in living for task in framework.tasks.values()]
        unreachable = [task for framework in living for task in framework.unreachable.values()]
        done = [task for framework in (*living, *self.completed) for task in framework.completed]
        return alive, unreachable, done

    def announce(self, kind: str, payload: Callable[[], Json]) -> None:
        """Tell operators that listen; what nobody hears is not even made."""
        if self.operators:
            event = {"type": kind, kind.lower(): payload()}
            self.out += [ToStream(stream_id, event) for stream_id in self.operators]

    def role_names(self) -> list[str]:
        """Give the roles that frameworks are subscribed to."""
        return sorted({role for framework in self.frameworks.values() for role in framework.roles})

    def frameworks_in(self, role: str) -> list[Framework]:
        """Give the frameworks that are subscribed to a role."""
        return [framework for framework in self.frameworks.values() if role in framework.roles]

    def allocated_to(self, role: str) -> Resources:
        """Sum up what a role's tasks and executors hold."""
        held = [
            task.resources
            for agent in self.agents.values()
            for task in agent.tasks.values()
            if task.role == role and task.state not in TERMINAL
        ]
        executors = (one for agent in self.agents.values() for one in agent.executors.values())
        return sum_of([*held, *(one.resources for one in executors if one.role == role)])

    def offered_to(self, role: str) -> Resources:
        """Sum up what a role is offered."""
        return sum_of(offer.resources for offer in self.offers.values() if offer.role == role)

    def held_by(self, role: str) -> Resources:
        """Sum up what a role holds, offers included."""
        return self.allocated_to(role) + self.offered_to(role)

    def agents_of(self, framework: Framework) -> list[Agent]:
        """Give the agents that may know of a framework: to tell all would cost every framework the whole cluster."""
        return [self.agents[agent_id] for agent_id in framework.served_by if agent_id in self.agents]

    def used_by(self, framework: Framework) -> Resources:
        """Sum up what a framework's tasks and executors hold."""
        used = sum_of(task.resources for task in framework.tasks.values() if task.state not in TERMINAL)
        for agent in self.agents_of(framework):
            for (framework_id, _), executor in agent.executors.items():
                if framework_id == framework.id:
                    used = used + executor.resources
        return used

    # Offers

    def allocate(self, now: float, agents: list[str] | None = None) -> None:
        """Make offers."""
        grants: dict[str, list[Grant]] = {}
        for grant in self.allocator.allocate(now, agents):
            grants.setdefault(grant.framework_id, []).append(grant)
        for framework_id, found in grants.items():
            framework = self.frameworks[framework_id]
            shown = [self._offer_json(self._make_offer(framework, grant), framework) for grant in found]
            self.send(framework, {"type": "OFFERS", "offers": {"offers": shown}})

    def _make_offer(self, framework: Framework, grant: Grant) -> Offer:
        offer = Offer(
            f"{self.id}-O{self._next_offer}", framework.id, grant.agent_id, grant.role, grant.resources
        )
        self._next_offer += 1
        self.offers[offer.id] = framework.offers[offer.id] = offer
        self.agents[offer.agent_id].offers[offer.id] = offer
        return offer

    def _offer_json(self, offer: Offer, framework: Framework) -> Json:
        return offer_json(offer, self.agents[offer.agent_id], refined=framework.can("RESERVATION_REFINEMENT"))

    def forget_offer(self, offer: Offer) -> None:
        """Strike an offer out; the caller says what becomes of its resources."""
        self.offers.pop(offer.id, None)
        self.agents[offer.agent_id].offers.pop(offer.id, None)
        self.frameworks[offer.framework_id].offers.pop(offer.id, None)

    def take_back(self, now: float, offer: Offer, refuse: float | None) -> None:
        """Take an offer back.

        Parameters
        ----------
        now
            Seconds.
        refuse
            Seconds for which its framework does not want the like; None: it may have it at once.
        """
        self.forget_offer(offer)
        self.allocator.recover(
            offer.framework_id, offer.role, offer.agent_id, offer.resources, now=now, refuse=refuse
        )

    def drop_offers(self, now: float, framework: Framework) -> None:
        """Take back all that a framework is offered."""
        for offer in list(framework.offers.values()):
            self.take_back(now, offer, None)

    def rescind(self, now: float, agent: Agent) -> None:
        """Take an agent's offers back, and say so."""
        for offer in list(agent.offers.values()):
            framework = self.frameworks[offer.framework_id]
            self.take_back(now, offer, None)
            self.send(framework, {"type": "RESCIND", "rescind": {"offer_id": {"value": offer.id}}})

    # Frameworks and tasks

    def new_framework_id(self) -> str:
        """Give the id of the next framework."""
        framework_id = f"{self.id}-{self._next_framework:04d}"
        self._next_framework += 1
        return framework_id

    def enter(self, framework: Framework) -> None:
        """Have the allocator make offers to a framework."""
        gpus = framework.can("GPU_RESOURCES")
        self.allocator.add_framework(
            framework.id, framework.roles, gpus=gpus, suppressed=framework.suppressed
        )

    def remove_framework(self, now: float, framework: Framework) -> None:
        """Remove a framework: no updates for its tasks, its executors are told to go."""
        if framework.stream_id is not None:
            self.streams.pop(framework.stream_id, None)
            self.out.append(EndStream(framework.stream_id))
            framework.stream_id = None
        self.allocator.deactivate_framework(framework.id)
        self.drop_offers(now, framework)
        framework.unregistered = self.wall()
        for task in list(framework.tasks.values()):
            if task.state not in TERMINAL:
                self.recover_resources(task)
                task.state = "TASK_KILLED"
                self.count("tasks_killed")
            self.complete(framework, task)
        framework.unreachable.clear()
        for agent in self.agents_of(framework):
            for key in [key for key in agent.executors if key[0] == framework.id]:
                executor = agent.executors.pop(key)
                self.allocator.recover(framework.id, executor.role, agent.id, executor.resources)
            if agent.link is not None:
                message = {"op": "shutdown_framework", "framework_id": framework.id}
                self.out.append(ToAgent(agent.link, message))
        self.allocator.remove_framework(framework.id)
        del self.frameworks[framework.id]
        self.removed_ids.add(framework.id)
        self.completed.append(framework)
        self.announce("FRAMEWORK_REMOVED", lambda: {"framework_info": framework.info})

    def send(self, framework: Framework, event: Json) -> None:
        """Send a framework an event, if it is connected."""
        if framework.stream_id is not None:
            self.out.append(ToStream(framework.stream_id, event))

    def tell_status(
        self, framework: Framework, ids: Json, state: str, message: str, reason: str, **more: Any
    ) -> None:
        """Tell a status of the master's own: no uuid, so nobody acknowledges it.

        Parameters
        ----------
        framework : Framework
        ids : dict
            The task's id and, where it is known, its agent's.
        state, message, reason : str
            As Mesos's TaskStatus has them.
        **more
            Further fields of the status.
        """
        status = {"task_id": ids["task_id"], "state": state, "message": message, "source": "SOURCE_MASTER"}
        status["reason"] = reason
        if "agent_id" in ids:
            status["agent_id"] = ids["agent_id"]
        status["timestamp"] = self.wall()
        status |= more
        self.send(framework, {"type": "UPDATE", "update": {"status": status}})
        if reason != "REASON_RECONCILIATION" and ids["task_id"]["value"] in framework.tasks:
            framework.tasks[ids["task_id"]["value"]].note(status)
            self.announce_status(framework, status, state)

    def announce_status(self, framework: Framework, status: Json, state: str) -> None:
        """Tell operators of a task's update.

        Parameters
        ----------
        framework : Framework
        status : dict
            Mesos's TaskStatus.
        state : str
            The task's state now.
        """
        ids = {"framework_id": {"value": framework.id}}
        self.announce("TASK_UPDATED", lambda: {**ids, "status": status, "state": state})

    def recover_resources(self, task: Task) -> None:
        """Free what a task held."""
        self.allocator.recover(task.framework_id, task.role, task.agent_id, task.resources)

    def complete(self, framework: Framework, task: Task) -> None:
        """Move a task that has ended, and whose end is acknowledged, to the completed ones."""
        framework.tasks.pop(task.id, None)
        agent = self.agents.get(task.agent_id)
        if agent is not None:
            agent.tasks.pop((framework.id, task.id), None)
        framework.completed.append(task)


def offer_json(offer: Offer, agent: Agent, *, refined: bool) -> Json:
    """Write an offer as its framework gets it.

    Parameters
    ----------
    refined
        The framework has RESERVATION_REFINEMENT: it sees no `role`.
    """
    port = agent.info["port"]
    shown: Json = {
        "id": {"value": offer.id},
        "framework_id": {"value": offer.framework_id},
        "agent_id": {"value": agent.id},
        "hostname": agent.hostname,
        "url": {
            "scheme": "http",
            "address": {
                "hostname": agent.hostname,
                "ip": agent.pid.split("@")[1].rsplit(":", 1)[0],
                "port": port,
            },
            "path": "/" + agent.pid.partition("@")[0],
        },
        "resources": offer.resources.to_json(None if refined else "*", allocated=offer.role),
    }
    if agent.info.get("attributes"):
        shown["attributes"] = agent.info["attributes"]
    executors = agent.executors_of(offer.framework_id)
    if executors:
        shown["executor_ids"] = [{"value": executor_id} for executor_id in executors]
    shown["allocation_info"] = {"role": offer.role}
    return shown


def error_event(message: str) -> Json:
    """Give an ERROR event."""
    return {"type": "ERROR", "error": {"message": message}}


def task_ids(task: Task) -> Json:
    """Give what a status says of a task's identity."""
    return {"task_id": {"value": task.id}, "agent_id": {"value": task.agent_id}}


def agent_info(info: Json) -> Json:
    """Give an AgentInfo in Mesos's order."""
    names = ("hostname", "port", "resources", "attributes", "id", "checkpoint")
    return {name: info[name] for name in names if name in info}


def with_id(info: Json, framework_id: str) -> Json:
    """Give a FrameworkInfo with its id, in Mesos's order."""
    return in_order("FrameworkInfo", {**info, "id": {"value": framework_id}})


def sum_of(found: Iterable[Resources]) -> Resources:
    """Add up."""
    total = Resources()
    for one in found:
        total = total + one
    return total
