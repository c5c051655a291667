"""The master, without I/O: calls and agents' messages in, events and messages out.

Every method takes the time it happens at (`now`, seconds of any steady clock) and appends what follows from
it to `out`; the edge (`master_process`) drains `out` after each call. Wall-clock times that show on the wire
come from `wall`.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from t2notebook.localmesos import validation
from t2notebook.localmesos.allocator import Allocator, Grant
from t2notebook.localmesos.records import (
    MAX_COMPLETED_FRAMEWORKS,
    TERMINAL,
    Agent,
    Executor,
    Framework,
    Json,
    Offer,
    Task,
)
from t2notebook.localmesos.resources import Resources

VERSION = "1.12.0"
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


Output = ToStream | EndStream | ToAgent


class CallError(Exception):
    """A call that is answered with an error status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Master:
    """One master.

    Parameters
    ----------
    ip, port
        Where frameworks reach it.
    agent_timeout
        Seconds of silence after which an agent is unreachable.
    """

    def __init__(
        self,
        ip: str,
        port: int,
        *,
        master_id: str | None = None,
        agent_timeout: float = 5.0,
        seed: int | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.id = master_id or str(uuid.uuid4())
        self.ip, self.port = ip, port
        self.agent_timeout = agent_timeout
        self.wall = wall
        self.started = wall()
        self.out: list[Output] = []
        self.allocator = Allocator(seed=seed)
        self.frameworks: dict[str, Framework] = {}
        self.completed: deque[Framework] = deque(maxlen=MAX_COMPLETED_FRAMEWORKS)
        self.removed_ids: set[str] = set()
        self.agents: dict[str, Agent] = {}
        self.offers: dict[str, Offer] = {}
        self.counters: dict[str, int] = {}
        self.idle_since: float | None = None
        self._streams: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._next_offer = 0
        self._next_framework = 0
        self._next_agent = 0

    # What others may ask

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
        """Tell whether somebody uses the cluster: a connected framework, or one that may come back to its tasks."""
        return any(
            framework.connected or any(task.state not in TERMINAL for task in framework.tasks.values())
            for framework in self.frameworks.values()
        )

    # Frameworks: subscription

    def subscribe(self, now: float, call: Json, stream_id: str) -> None:
        """Handle SUBSCRIBE; everything, refusals included, is told on the stream."""
        info = dict(call["subscribe"]["framework_info"])
        suppressed = call["subscribe"].get("suppressed_roles", [])
        fault = validation.framework_info(info, suppressed)
        framework_id = call.get("framework_id", {}).get("value", "")
        if fault is None and framework_id in self.removed_ids:
            fault = "Framework has been removed"
        if fault is not None:
            self.out += [ToStream(stream_id, _error(fault)), EndStream(stream_id)]
            return
        framework = self.frameworks.get(framework_id)
        if framework is None:
            if not framework_id:
                framework_id = f"{self.id}-{self._next_framework:04d}"
                self._next_framework += 1
                # The id stands behind the name in Mesos's own printing; the parser would have put it there.
                info = _with_id(info, framework_id)
            moment = self.wall()
            framework = Framework(framework_id, info, moment, moment)
            self.frameworks[framework_id] = framework
        else:
            if framework.stream_id is not None:
                old = framework.stream_id
                self.out += [ToStream(old, _error("Framework failed over")), EndStream(old)]
                self._streams.pop(old, None)
            self._drop_offers(now, framework)
            framework.info = {**info, "user": framework.info["user"], "checkpoint": framework.info["checkpoint"]}
            framework.reregistered = self.wall()
        framework.stream_id = stream_id
        framework.failover_at = None
        framework.suppressed = set(suppressed)
        self._streams[stream_id] = framework.id
        self._send(
            framework,
            {
                "type": "SUBSCRIBED",
                "subscribed": {
                    "framework_id": {"value": framework.id},
                    "heartbeat_interval_seconds": HEARTBEAT_SECONDS,
                    "master_info": self.info,
                },
            },
        )
        self._send(framework, HEARTBEAT)
        self._enter(framework)
        self.allocate(now)

    def _enter(self, framework: Framework) -> None:
        gpus = framework.can("GPU_RESOURCES")
        self.allocator.add_framework(framework.id, framework.roles, gpus=gpus, suppressed=framework.suppressed)

    def disconnected(self, now: float, stream_id: str) -> None:
        """Note that a framework's stream broke: its failover time runs."""
        framework_id = self._streams.pop(stream_id, None)
        framework = self.frameworks.get(framework_id or "")
        if framework is None or framework.stream_id != stream_id:
            return
        framework.stream_id = None
        self.allocator.deactivate_framework(framework.id)
        self._drop_offers(now, framework)
        timeout = max(0.0, framework.info.get("failover_timeout", 0.0))
        framework.failover_at = now + timeout
        if timeout == 0.0:
            self.remove_framework(now, framework)

    def remove_framework(self, now: float, framework: Framework) -> None:
        """Remove a framework: no updates for its tasks, its executors are told to go."""
        if framework.stream_id is not None:
            self._streams.pop(framework.stream_id, None)
            self.out.append(EndStream(framework.stream_id))
            framework.stream_id = None
        self.allocator.deactivate_framework(framework.id)
        self._drop_offers(now, framework)
        framework.unregistered = self.wall()
        for task in list(framework.tasks.values()):
            if task.state not in TERMINAL:
                self._recover(task)
                task.state = "TASK_KILLED"
                self.count("tasks_killed")
            self._complete(framework, task)
        framework.unreachable.clear()
        for agent in self.agents.values():
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

    def authorize(self, call: Json, stream_id: str | None) -> Framework:
        """Find the framework that a call (not SUBSCRIBE) comes from.

        Raises
        ------
        CallError
            400 or 403, as recorded.
        """
        framework = self.frameworks.get(call["framework_id"]["value"])
        if framework is None:
            raise CallError(400, "Framework cannot be found")
        if framework.stream_id is None:
            raise CallError(403, "Framework is not subscribed")
        if stream_id is None:
            raise CallError(400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header")
        if stream_id != framework.stream_id:
            raise CallError(
                400,
                f"The stream ID '{stream_id}' included in this request didn't match "
                f"the stream ID currently associated with framework ID {framework.id}",
            )
        return framework

    # Frameworks: the other calls

    def call(self, now: float, framework: Framework, call: Json) -> int:
        """Handle a call of a subscribed framework; give the status to answer with.

        Raises
        ------
        CallError
            The call is refused.
        """
        kind = call["type"]
        if kind == "ACCEPT":
            self._accept(now, framework, call["accept"])
        elif kind == "DECLINE":
            refuse = call["decline"].get("filters", {}).get("refuse_seconds")
            for item in call["decline"].get("offer_ids", []):
                offer = framework.offers.get(item["value"])
                if offer is not None:
                    self._take_back(now, offer, 5.0 if refuse is None else refuse)
        elif kind == "REVIVE":
            roles = set(call.get("revive", {}).get("roles") or framework.roles) & set(framework.roles)
            framework.suppressed -= roles
            self.allocator.revive(framework.id, roles)
            self.allocate(now)
        elif kind == "SUPPRESS":
            roles = set(call.get("suppress", {}).get("roles") or framework.roles) & set(framework.roles)
            framework.suppressed |= roles
            self.allocator.suppress(framework.id, roles)
        elif kind == "KILL":
            self._kill(framework, call["kill"])
        elif kind == "SHUTDOWN":
            self._to_executor(framework, "shutdown_executor", call["shutdown"])
        elif kind == "MESSAGE":
            self._to_executor(framework, "message", call["message"], data=call["message"]["data"])
        elif kind == "ACKNOWLEDGE":
            self._acknowledge(framework, call["acknowledge"])
        elif kind == "RECONCILE":
            self._reconcile(framework, call["reconcile"].get("tasks", []))
        elif kind == "TEARDOWN":
            self.remove_framework(now, framework)
        elif kind == "UPDATE_FRAMEWORK":
            self._update_framework(now, framework, call["update_framework"])
            return 200
        elif kind == "ACKNOWLEDGE_OPERATION_STATUS":
            raise CallError(501, "501 Not Implemented.")
        # REQUEST, RECONCILE_OPERATIONS and the inverse offers' calls have nothing to act on, as in Mesos.
        return 202

    def _update_framework(self, now: float, framework: Framework, update: Json) -> None:
        info, suppressed = update["framework_info"], update.get("suppressed_roles", [])
        fault = validation.framework_info(info, suppressed)
        if fault is not None:
            raise CallError(400, f"Supplied FrameworkInfo is not valid: {fault}")
        fault = validation.framework_update(framework.info, info)
        if fault is not None:
            raise CallError(400, f"FrameworkInfo update is not valid: {fault}")
        framework.info = info
        framework.suppressed = set(suppressed)
        self._enter(framework)
        self.allocate(now)
        for agent in self.agents.values():
            if agent.link is not None:
                message = {"op": "update_framework", "framework": info, "framework_id": framework.id}
                self.out.append(ToAgent(agent.link, message))

    def _accept(self, now: float, framework: Framework, accept: Json) -> None:
        operations = accept.get("operations", [])
        for operation in operations:
            if operation.get("type") not in ("LAUNCH", "LAUNCH_GROUP"):
                name = operation.get("type", "UNKNOWN")
                raise CallError(501, f"501 Not Implemented. The embedded Mesos has no operation '{name}'")
        ids = [item["value"] for item in accept.get("offer_ids", [])]
        fault = validation.offers(ids, self.offers, framework) if ids else "No offers specified"
        found = [framework.offers[offer_id] for offer_id in dict.fromkeys(ids) if offer_id in framework.offers]
        tasks = [info for operation in operations for info in _tasks_of(operation)]
        if fault is not None:
            for offer in found:
                self._take_back(now, offer, None)
            lost = "TASK_DROPPED" if framework.can("PARTITION_AWARE") else "TASK_LOST"
            for info in tasks:
                message = f"Task launched with invalid offers: {fault}"
                self._status(framework, _ids(info), lost, message, "REASON_INVALID_OFFERS")
            return
        role, agent = found[0].role, self.agents[found[0].agent_id]
        left = Resources()
        for offer in found:
            left = left + offer.resources
            self._forget_offer(offer)
        for operation in operations:
            for info in _tasks_of(operation):
                if operation["type"] == "LAUNCH_GROUP":
                    message = "Task group is invalid: LAUNCH_GROUP is not supported by the embedded Mesos"
                    self._status(framework, _ids(info), "TASK_ERROR", message, "REASON_TASK_GROUP_INVALID")
                    continue
                fault = validation.task(info, framework, agent, left, role)
                if fault is not None:
                    self._status(framework, _ids(info), "TASK_ERROR", fault, "REASON_TASK_INVALID")
                    continue
                left = left - self._launch(framework, agent, role, info)
        refuse = accept.get("filters", {}).get("refuse_seconds", 5.0)
        self.allocator.recover(framework.id, role, agent.id, left, now=now, refuse=refuse)

    def _launch(self, framework: Framework, agent: Agent, role: str, info: Json) -> Resources:
        """Launch one valid task; give what it takes from the offer."""
        info = dict(info)
        info["resources"] = _allocated(info.get("resources", []), role)
        taken = Resources.from_json(info["resources"])
        executor_id, new_executor = "", False
        if "executor" in info:
            original = info["executor"]
            executor_id = original["executor_id"]["value"]
            key = (framework.id, executor_id)
            if key not in agent.executors:
                held = Resources.from_json(original.get("resources", []))
                agent.executors[key] = Executor(original, held, role)
                taken = taken + held
                new_executor = True
            executor = {"type": "CUSTOM", "executor_id": original["executor_id"]}
            executor["framework_id"] = {"value": framework.id}
            executor |= {name: value for name, value in original.items() if name not in executor}
            executor["resources"] = _allocated(original.get("resources", []), role)
            info["executor"] = _in_order("ExecutorInfo", executor)
        task = Task(
            id=info["task_id"]["value"],
            name=info["name"],
            framework_id=framework.id,
            agent_id=agent.id,
            executor_id=executor_id,
            role=role,
            resources=Resources.from_json(info["resources"]),
            resources_json=info["resources"],
            labels=info.get("labels"),
            discovery=info.get("discovery"),
        )
        framework.tasks[task.id] = task
        agent.tasks[(framework.id, task.id)] = task
        if agent.link is not None:
            message = {
                "op": "run_task",
                "framework_id": framework.id,
                "framework": framework.info,
                "task": info,
                "role": role,
                "new_executor": new_executor,
            }
            self.out.append(ToAgent(agent.link, message))
        return taken

    def _kill(self, framework: Framework, kill: Json) -> None:
        task_id = kill["task_id"]["value"]
        task = framework.tasks.get(task_id)
        if task is None or task.state == "TASK_UNREACHABLE":
            self._reconcile(framework, [kill])
            return
        link = self.agents[task.agent_id].link
        if link is not None:
            message = {"op": "kill_task", "framework_id": framework.id, "task_id": task_id}
            if "kill_policy" in kill:
                message["kill_policy"] = kill["kill_policy"]
            self.out.append(ToAgent(link, message))

    def _to_executor(self, framework: Framework, op: str, ids: Json, **more: Any) -> None:
        agent = self.agents.get(ids["agent_id"]["value"])
        if agent is not None and agent.link is not None:
            executor_id = ids["executor_id"]["value"]
            message = {"op": op, "framework_id": framework.id, "executor_id": executor_id, **more}
            self.out.append(ToAgent(agent.link, message))

    def _acknowledge(self, framework: Framework, ack: Json) -> None:
        task_id, agent = ack["task_id"]["value"], self.agents.get(ack["agent_id"]["value"])
        if agent is None:
            return
        task = framework.tasks.get(task_id)
        if task is not None and task.update_state in TERMINAL and task.update_uuid == ack["uuid"]:
            self._complete(framework, task)
        if agent.link is not None:
            message = {"op": "ack", "framework_id": framework.id, "task_id": task_id, "uuid": ack["uuid"]}
            self.out.append(ToAgent(agent.link, message))

    def _reconcile(self, framework: Framework, wanted: Iterable[Json]) -> None:
        wanted = list(wanted)
        if not wanted:
            for task in list(framework.tasks.values()):
                self._latest(framework, task)
            return
        aware = framework.can("PARTITION_AWARE")
        for item in wanted:
            ids: Json = {"task_id": item["task_id"]}
            if "agent_id" in item:
                ids["agent_id"] = item["agent_id"]
            task_id = item["task_id"]["value"]
            task = framework.tasks.get(task_id)
            agent = self.agents.get(item.get("agent_id", {}).get("value", ""))
            if task is not None:
                self._latest(framework, task)
            elif task_id in framework.unreachable or (agent is not None and not agent.reachable):
                lost_task = framework.unreachable.get(task_id)
                if lost_task is not None:
                    agent = self.agents.get(lost_task.agent_id, agent)
                    ids["agent_id"] = {"value": lost_task.agent_id}
                since = agent.unreachable_since if agent is not None else None
                more = {} if since is None else {"unreachable_time": _nanoseconds(since)}
                state = "TASK_UNREACHABLE" if aware else "TASK_LOST"
                self._reconciled(framework, ids, state, "Task is unreachable", **more)
            elif agent is not None:
                state = "TASK_GONE" if aware else "TASK_LOST"
                self._reconciled(framework, ids, state, "Task is unknown to the agent")
            else:
                state = "TASK_UNKNOWN" if aware else "TASK_LOST"
                self._reconciled(framework, ids, state, "Task is unknown")

    def _latest(self, framework: Framework, task: Task) -> None:
        more: Json = {}
        if task.statuses:
            more = {k: task.statuses[-1][k] for k in ("healthy", "container_status") if k in task.statuses[-1]}
        ids = {"task_id": {"value": task.id}, "agent_id": {"value": task.agent_id}}
        self._reconciled(framework, ids, task.known_state, "Latest task state", **more)

    def _reconciled(self, framework: Framework, ids: Json, state: str, text: str, **more: Any) -> None:
        self._status(framework, ids, state, f"Reconciliation: {text}", "REASON_RECONCILIATION", **more)

    # Agents

    def register_agent(self, now: float, link: str, message: Json) -> str:
        """Take an agent in, or back; give its id.

        `message` has `info` (AgentInfo without id), `port_pid`, `agent_id` (None the first time), `index`,
        and of one that comes back `tasks` and `executors`.
        """
        moment = self.wall()
        agent = self.agents.get(message.get("agent_id") or "")
        total = Resources.from_json(message["info"]["resources"])
        if agent is None:
            agent_id = f"{self.id}-S{message['index']}"
            if agent_id in self.agents:
                agent_id = f"{self.id}-S{max(self._next_agent, len(self.agents))}"
            self._next_agent = max(self._next_agent, message["index"] + 1)
            info = _in_order_agent({**message["info"], "id": {"value": agent_id}})
            agent = Agent(agent_id, info, message["pid"], total, moment, link, now)
            self.agents[agent_id] = agent
            self.allocator.add_agent(agent_id, total)
            self._links[link] = agent_id
        else:
            if agent.link is not None:
                self._links.pop(agent.link, None)
            agent.link, agent.heard, agent.reregistered = link, now, moment
            self._links[link] = agent.id
            if not agent.reachable:
                self._agent_back(agent, message)
            else:
                self._agent_reports(agent, message)
            self.allocator.add_agent(agent.id, agent.total)
        self.out.append(ToAgent(link, {"op": "registered", "agent_id": agent.id}))
        gone = set(message.get("frameworks", [])) - set(self.frameworks)
        for framework_id in sorted(gone):
            self.out.append(ToAgent(link, {"op": "shutdown_framework", "framework_id": framework_id}))
        self.allocate(now, [agent.id])
        return agent.id

    def _agent_reports(self, agent: Agent, message: Json) -> None:
        """Settle what got lost while a link was down: tasks that never arrived, executors that are gone."""
        reported = {(item["framework_id"], item["task_id"]) for item in message.get("tasks", [])}
        for key, task in list(agent.tasks.items()):
            if key not in reported and task.state not in TERMINAL:
                framework = self.frameworks[task.framework_id]
                self._recover(task)
                state = "TASK_DROPPED" if framework.can("PARTITION_AWARE") else "TASK_LOST"
                task.state = state
                text = "Task is unknown to the agent"
                self._status(framework, _task_ids(task), state, text, "REASON_RECONCILIATION")
                self._complete(framework, task)
        executors = {(item["framework_id"], item["executor_id"]) for item in message.get("executors", [])}
        for key in [key for key in agent.executors if key not in executors]:
            self.executor_exited(agent.id, key[0], key[1], None)

    def _agent_back(self, agent: Agent, message: Json) -> None:
        """Bring back an agent that was given up for lost, with the tasks that it still runs."""
        agent.unreachable_since = None
        self.allocator.add_agent(agent.id, agent.total)
        for item in message.get("executors", []):
            if item["framework_id"] in self.frameworks:
                held = Resources.from_json(item["info"].get("resources", []))
                key = (item["framework_id"], item["executor_id"])
                agent.executors[key] = Executor(item["original"], held, item["role"])
                self.allocator.allocate_now(item["framework_id"], item["role"], agent.id, held)
        for item in message.get("tasks", []):
            framework = self.frameworks.get(item["framework_id"])
            task = None if framework is None else framework.unreachable.pop(item["task_id"], None)
            if framework is None or task is None:
                continue
            task.revive(item["state"])
            framework.tasks[task.id] = task
            agent.tasks[(framework.id, task.id)] = task
            self.allocator.allocate_now(framework.id, task.role, agent.id, task.resources)
            more = {k: item["status"][k] for k in ("container_status",) if k in item.get("status", {})}
            text = "Unreachable agent re-reregistered"
            self._status(framework, _task_ids(task), task.state, text, "REASON_AGENT_REREGISTERED", **more)

    def agent_heard(self, now: float, link: str) -> None:
        """Note any message of an agent."""
        agent = self.agents.get(self._links.get(link, ""))
        if agent is not None:
            agent.heard = now

    def agent_disconnected(self, now: float, link: str) -> None:
        """Note that an agent's link broke: its offers are rescinded, its tasks wait for its return."""
        agent = self.agents.get(self._links.pop(link, ""))
        if agent is None or agent.link != link:
            return
        agent.link = None
        agent.heard = now
        self.allocator.deactivate_agent(agent.id)
        self._rescind(now, agent)

    def update(self, agent_id: str, message: Json) -> None:
        """Forward an agent's status update: `status`, `framework_id`, `latest_state`."""
        framework = self.frameworks.get(message["framework_id"])
        if framework is None:
            return
        status = message["status"]
        task = framework.tasks.get(status["task_id"]["value"])
        if task is not None:
            latest = message["latest_state"]
            if task.state not in TERMINAL:
                if latest in TERMINAL:
                    self._recover(task)
                    self.count(latest.lower().replace("task_", "tasks_"))
                task.move(latest)
            task.update_state, task.update_uuid = status["state"], status["uuid"]
            task.note(status)
        self._send(framework, {"type": "UPDATE", "update": {"status": status}})

    def executor_exited(self, agent_id: str, framework_id: str, executor_id: str, status: int | None) -> None:
        """Note that a custom executor is gone: its resources are free, its framework hears FAILURE."""
        agent = self.agents[agent_id]
        executor = agent.executors.pop((framework_id, executor_id), None)
        if executor is None:
            return
        self.allocator.recover(framework_id, executor.role, agent_id, executor.resources)
        framework = self.frameworks.get(framework_id)
        if framework is not None:
            failure = {"agent_id": {"value": agent_id}, "executor_id": {"value": executor_id}}
            self._send(
                framework, {"type": "FAILURE", "failure": {**failure, "status": -1 if status is None else status}}
            )

    def executor_message(self, agent_id: str, framework_id: str, executor_id: str, data: str) -> None:
        """Forward an executor's message."""
        framework = self.frameworks.get(framework_id)
        if framework is not None:
            message = {"agent_id": {"value": agent_id}, "executor_id": {"value": executor_id}, "data": data}
            self._send(framework, {"type": "MESSAGE", "message": message})

    # Time

    def allocate(self, now: float, agents: list[str] | None = None) -> None:
        """Make offers."""
        grants: dict[str, list[Grant]] = {}
        for grant in self.allocator.allocate(now, agents):
            grants.setdefault(grant.framework_id, []).append(grant)
        for framework_id, found in grants.items():
            framework = self.frameworks[framework_id]
            shown = [self._offer_json(self._make_offer(framework, grant), framework) for grant in found]
            self._send(framework, {"type": "OFFERS", "offers": {"offers": shown}})

    def tick(self, now: float) -> None:
        """Do what a second's passing asks for: batch allocation, failover and agent timeouts."""
        for framework in list(self.frameworks.values()):
            if framework.failover_at is not None and now >= framework.failover_at:
                self.remove_framework(now, framework)
        for agent in list(self.agents.values()):
            if agent.reachable and now - agent.heard > self.agent_timeout:
                self._agent_lost(now, agent)
        self.idle_since = None if self.busy() else (now if self.idle_since is None else self.idle_since)
        self.allocate(now)

    def _agent_lost(self, now: float, agent: Agent) -> None:
        if agent.link is not None:
            self._links.pop(agent.link, None)
            self.out.append(ToAgent(agent.link, {"op": "close"}))
            agent.link = None
        agent.unreachable_since = self.wall()
        self.allocator.deactivate_agent(agent.id)
        self._rescind(now, agent)
        affected = {key[0] for key in agent.executors} | {key[0] for key in agent.tasks}
        for task in list(agent.tasks.values()):
            framework = self.frameworks.get(task.framework_id)
            if framework is None or task.state in TERMINAL:
                continue
            self._recover(task)
            state = "TASK_UNREACHABLE" if framework.can("PARTITION_AWARE") else "TASK_LOST"
            more = {"unreachable_time": _nanoseconds(agent.unreachable_since)}
            ids = _task_ids(task)
            self._status(framework, ids, state, "health check timed out", "REASON_AGENT_REMOVED", **more)
            task.state = task.update_state = state
            framework.tasks.pop(task.id, None)
            framework.unreachable[task.id] = task
        agent.tasks.clear()
        for key, executor in list(agent.executors.items()):
            self.allocator.recover(key[0], executor.role, agent.id, executor.resources)
        agent.executors.clear()
        for framework_id in sorted(affected):
            if framework_id in self.frameworks:
                failure = {"type": "FAILURE", "failure": {"agent_id": {"value": agent.id}}}
                self._send(self.frameworks[framework_id], failure)
        self.allocator.remove_agent(agent.id)

    # Offers

    def _make_offer(self, framework: Framework, grant: Grant) -> Offer:
        offer = Offer(f"{self.id}-O{self._next_offer}", framework.id, grant.agent_id, grant.role, grant.resources)
        self._next_offer += 1
        self.offers[offer.id] = framework.offers[offer.id] = offer
        self.agents[offer.agent_id].offers[offer.id] = offer
        return offer

    def _offer_json(self, offer: Offer, framework: Framework) -> Json:
        return offer_json(offer, self.agents[offer.agent_id], refined=framework.can("RESERVATION_REFINEMENT"))

    def _forget_offer(self, offer: Offer) -> None:
        self.offers.pop(offer.id, None)
        self.agents[offer.agent_id].offers.pop(offer.id, None)
        self.frameworks[offer.framework_id].offers.pop(offer.id, None)

    def _take_back(self, now: float, offer: Offer, refuse: float | None) -> None:
        self._forget_offer(offer)
        self.allocator.recover(
            offer.framework_id, offer.role, offer.agent_id, offer.resources, now=now, refuse=refuse
        )

    def _drop_offers(self, now: float, framework: Framework) -> None:
        for offer in list(framework.offers.values()):
            self._take_back(now, offer, None)

    def _rescind(self, now: float, agent: Agent) -> None:
        for offer in list(agent.offers.values()):
            framework = self.frameworks[offer.framework_id]
            self._take_back(now, offer, None)
            self._send(framework, {"type": "RESCIND", "rescind": {"offer_id": {"value": offer.id}}})

    # Small things

    def _send(self, framework: Framework, event: Json) -> None:
        if framework.stream_id is not None:
            self.out.append(ToStream(framework.stream_id, event))

    def _status(
        self, framework: Framework, ids: Json, state: str, message: str, reason: str, **more: Any
    ) -> None:
        """Tell a status of the master's own: no uuid, so nobody acknowledges it."""
        status = {"task_id": ids["task_id"], "state": state, "message": message, "source": "SOURCE_MASTER"}
        status["reason"] = reason
        if "agent_id" in ids:
            status["agent_id"] = ids["agent_id"]
        status["timestamp"] = self.wall()
        status |= more
        self._send(framework, {"type": "UPDATE", "update": {"status": status}})

    def _recover(self, task: Task) -> None:
        self.allocator.recover(task.framework_id, task.role, task.agent_id, task.resources)

    def _complete(self, framework: Framework, task: Task) -> None:
        framework.tasks.pop(task.id, None)
        agent = self.agents.get(task.agent_id)
        if agent is not None:
            agent.tasks.pop((framework.id, task.id), None)
        framework.completed.append(task)


def offer_json(offer: Offer, agent: Agent, *, refined: bool) -> Json:
    """Write an offer as its framework gets it (RESERVATION_REFINEMENT frameworks see no `role`)."""
    port = agent.info["port"]
    shown: Json = {
        "id": {"value": offer.id},
        "framework_id": {"value": offer.framework_id},
        "agent_id": {"value": agent.id},
        "hostname": agent.hostname,
        "url": {
            "scheme": "http",
            "address": {"hostname": agent.hostname, "ip": agent.pid.split("@")[1].rsplit(":", 1)[0], "port": port},
            "path": "/slave(1)",
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


def _error(message: str) -> Json:
    return {"type": "ERROR", "error": {"message": message}}


def _nanoseconds(seconds: float) -> Json:
    return {"nanoseconds": int(seconds * 1e9)}


def _tasks_of(operation: Json) -> list[Json]:
    if operation["type"] == "LAUNCH":
        return list(operation.get("launch", {}).get("task_infos", []))
    return list(operation.get("launch_group", {}).get("task_group", {}).get("tasks", []))


def _ids(info: Json) -> Json:
    return {"task_id": info["task_id"], "agent_id": info["agent_id"]}


def _task_ids(task: Task) -> Json:
    return {"task_id": {"value": task.id}, "agent_id": {"value": task.agent_id}}


def _allocated(items: Iterable[Json], role: str) -> list[Json]:
    return [{**item, "allocation_info": {"role": role}} for item in items]


def _in_order(message: str, value: Json) -> Json:
    from t2notebook.localmesos.schema import fields_of

    return {field.name: value[field.name] for field in fields_of(message) if field.name in value}


def _with_id(info: Json, framework_id: str) -> Json:
    return _in_order("FrameworkInfo", {**info, "id": {"value": framework_id}})


def _in_order_agent(info: Json) -> Json:
    names = ("hostname", "port", "resources", "attributes", "id", "checkpoint")
    return {name: info[name] for name in names if name in info}


def new_uuid() -> str:
    """Give 16 random bytes in base64, a status update's uuid."""
    return base64.b64encode(uuid.uuid4().bytes).decode()
