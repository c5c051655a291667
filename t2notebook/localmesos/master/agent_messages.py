"""The agents' side of a master: registration, return, loss; status updates and executors' ends. No I/O.

What outlives a master is the registry: which agents there are. All else is soft state, and the agents bring it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..common.ids import nanoseconds
from ..common.resources import Resources
from ..common.task_states import TERMINAL, Json, state_for
from .model import Agent, Executor, Framework, Task
from .operator_messages import agent_json
from .state import MasterState, Save, ToAgent, agent_info, task_ids

AGENT_RETURN = 60.0
"""Seconds that an agent of an earlier master has to return. (Mesos: 10 min; also the least time of its frameworks.)"""


class AgentMessages:
    """The agents' messages to a master, and their silence.

    Parameters
    ----------
    state
        The master's.
    """

    def __init__(self, state: MasterState) -> None:
        self._state = state
        self._links: dict[str, str] = {}
        self._next_index = 0

    def recover(self, now: float, registry: Mapping[str, Json]) -> None:
        """Begin to lead, with what an earlier master knew of agents.

        Parameters
        ----------
        registry
            AgentInfos by id, of lost ones with `unreachable_since`.
        """
        self._state.elected = self._state.wall()
        self._state.return_until = now + AGENT_RETURN
        for agent_id, record in registry.items():
            since = record.get("unreachable_since")
            if since is None:
                self._state.recovered[agent_id] = record["info"]
            else:
                self._state.unreachable_ids[agent_id] = since

    def tick(self, now: float) -> None:
        """Give up agents that have been silent, or have not come back, for too long."""
        for agent in list(self._state.agents.values()):
            if now - agent.heard > self._state.agent_timeout and agent.reachable:
                self._lost(now, agent)
        return_until = self._state.return_until
        if self._state.recovered and return_until is not None and now >= return_until:
            self._give_up_recovered()

    def _give_up_recovered(self) -> None:
        """Count agents that did not come back in time as unreachable."""
        for agent_id, info in self._state.recovered.items():
            since = self._state.unreachable_ids[agent_id] = self._state.wall()
            self._state.out.append(Save(agent_id, {"info": info, "unreachable_since": since}))
        self._state.recovered.clear()

    def register(self, now: float, link: str, message: Json) -> str:
        """Take an agent in, or back. The caller then allocates, once for all that came together.

        Parameters
        ----------
        link
            The name of its link.
        message
            `info` (AgentInfo without id), `pid`, `agent_id` (None the first time), `index`, and of one that comes
            back `tasks`, `executors` and `frameworks`.

        Returns
        -------
        str
            Its id.
        """
        moment = self._state.wall()
        agent = self._state.agents.get(message.get("agent_id") or "")
        total = Resources.from_json(message["info"]["resources"])
        if agent is None:
            agent_id = message.get("agent_id")
            known = agent_id is not None
            if agent_id is None:
                agent_id = f"{self._state.id}-S{message['index']}"
                if agent_id in self._state.agents:
                    agent_id = f"{self._state.id}-S{max(self._next_index, len(self._state.agents))}"
                self._next_index = max(self._next_index, message["index"] + 1)
            info = agent_info({**message["info"], "id": {"value": agent_id}})
            agent = Agent(agent_id, info, message["pid"], total, moment, link, now)
            self._state.agents[agent_id] = agent
            self._state.allocator.add_agent(agent_id, total)
            self._links[link] = agent_id
            self._state.recovered.pop(agent_id, None)
            self._state.unreachable_ids.pop(agent_id, None)
            self._state.out.append(Save(agent_id, {"info": info}))
            self._state.count("slave_reregistrations" if known else "slave_registrations")
            if known:
                agent.reregistered = moment
                self._adopt(now, agent, message)
        else:
            if agent.link is not None:
                self._links.pop(agent.link, None)
            agent.link, agent.heard, agent.reregistered = link, now, moment
            agent.info, agent.pid = agent_info({**message["info"], "id": {"value": agent.id}}), message["pid"]
            self._links[link] = agent.id
            self._state.count("slave_reregistrations")
            if not agent.reachable:
                self._agent_back(agent, message)
                self._state.out.append(Save(agent.id, {"info": agent.info}))
            else:
                self._agent_reports(agent, message)
            self._state.allocator.add_agent(agent.id, agent.total)
        taken = agent
        self._state.announce("AGENT_ADDED", lambda: {"agent": agent_json(taken)})
        self._state.out.append(ToAgent(link, {"op": "registered", "agent_id": agent.id}))
        kills, agent.kills = agent.kills, []
        self._state.out += [ToAgent(link, kill) for kill in kills]
        for framework_id in sorted(message.get("frameworks", ())):
            if framework_id in self._state.frameworks:
                self._state.frameworks[framework_id].served_by[agent.id] = None
            else:
                self._state.out.append(
                    ToAgent(link, {"op": "shutdown_framework", "framework_id": framework_id})
                )
        return agent.id

    def _adopt(self, now: float, agent: Agent, message: Json) -> None:
        """Learn from an agent of an earlier master what it runs, and for whom."""
        for framework_id, info in message.get("frameworks", {}).items():
            if framework_id not in self._state.frameworks and framework_id not in self._state.removed_ids:
                framework = Framework(framework_id, info, 0.0, 0.0, recovered=True)
                wait = max(AGENT_RETURN, float(info.get("failover_timeout", 0.0)))
                framework.failover_at = now + wait
                self._state.frameworks[framework_id] = framework
                self._state.enter(framework)
                self._state.allocator.deactivate_framework(framework_id)
        for item in message.get("executors", []):
            if item["framework_id"] in self._state.frameworks:
                self._hold_executor(agent, item)
        for item in message.get("tasks", []):
            known = self._state.frameworks.get(item["framework_id"])
            if known is None:
                continue
            # Of what ended without its end being acknowledged only that is known; its resources are free.
            info = item.get("info", {"name": "", "resources": []})
            task = Task(
                id=item["task_id"],
                name=info["name"],
                framework_id=known.id,
                agent_id=agent.id,
                executor_id=item.get("executor_id", ""),
                role=item.get("role", known.info["roles"][0] if known.info.get("roles") else "*"),
                resources=Resources.from_json(info["resources"]),
                resources_json=info["resources"],
                state=item["state"],
                labels=info.get("labels"),
                discovery=info.get("discovery"),
            )
            if item["status"]:
                task.note(item["status"])
            known.tasks[task.id] = task
            agent.tasks[(known.id, task.id)] = task
            self._state.allocator.allocate_now(known.id, task.role, agent.id, task.resources)

    def _hold_executor(self, agent: Agent, item: Json) -> None:
        held = Resources.from_json(item["info"].get("resources", []))
        key = (item["framework_id"], item["executor_id"])
        agent.executors[key] = Executor(item["original"], held, item["role"])
        self._state.allocator.allocate_now(item["framework_id"], item["role"], agent.id, held)

    def _agent_reports(self, agent: Agent, message: Json) -> None:
        """Settle what got lost while a link was down: tasks that never arrived, executors that are gone."""
        reported = {(item["framework_id"], item["task_id"]) for item in message.get("tasks", [])}
        for key, task in list(agent.tasks.items()):
            if key not in reported and task.state not in TERMINAL:
                framework = self._state.frameworks[task.framework_id]
                self._state.recover_resources(task)
                state = state_for(framework.info, "TASK_DROPPED")
                task.state = state
                text = "Task is unknown to the agent"
                self._state.tell_status(framework, task_ids(task), state, text, "REASON_RECONCILIATION")
                self._state.complete(framework, task)
        executors = {(item["framework_id"], item["executor_id"]) for item in message.get("executors", [])}
        for key in [key for key in agent.executors if key not in executors]:
            self.executor_exited(agent.id, key[0], key[1], None)
        # What was given up when the link broke (its framework does not checkpoint) must not go on after all.
        assert agent.link is not None
        for framework_id, executor_id in executors - set(agent.executors):
            order = {"op": "shutdown_executor", "framework_id": framework_id, "executor_id": executor_id}
            self._state.out.append(ToAgent(agent.link, order))
        for item in message.get("tasks", []):
            key = (item["framework_id"], item["task_id"])
            if "info" in item and key not in agent.tasks and not item["executor_id"]:
                order = {"op": "kill_task", "framework_id": key[0], "task_id": key[1]}
                self._state.out.append(ToAgent(agent.link, order))

    def _agent_back(self, agent: Agent, message: Json) -> None:
        """Bring back an agent that was given up for lost, with the tasks that it still runs."""
        agent.unreachable_since = None
        self._state.allocator.add_agent(agent.id, agent.total)
        for item in message.get("executors", []):
            if item["framework_id"] in self._state.frameworks:
                self._hold_executor(agent, item)
        for item in message.get("tasks", []):
            framework = self._state.frameworks.get(item["framework_id"])
            task = None if framework is None else framework.unreachable.pop(item["task_id"], None)
            if framework is None or task is None:
                continue
            task.revive(item["state"])
            framework.tasks[task.id] = task
            agent.tasks[(framework.id, task.id)] = task
            self._state.allocator.allocate_now(framework.id, task.role, agent.id, task.resources)
            more = {k: item["status"][k] for k in ("container_status",) if k in item.get("status", {})}
            text = "Unreachable agent re-reregistered"
            self._state.tell_status(
                framework, task_ids(task), task.state, text, "REASON_AGENT_REREGISTERED", **more
            )
        for framework in self._state.frameworks.values():
            for task in [one for one in framework.unreachable.values() if one.agent_id == agent.id]:
                del framework.unreachable[task.id]
                task.state = state_for(framework.info, "TASK_GONE")
                framework.completed.append(task)

    def heard(self, now: float, link: str) -> None:
        """Note any message of an agent."""
        agent = self._state.agents.get(self._links.get(link, ""))
        if agent is not None:
            agent.heard = now

    def disconnected(self, now: float, link: str) -> None:
        """Note that an agent's link broke: its offers are rescinded, its tasks wait for its return."""
        agent = self._state.agents.get(self._links.pop(link, ""))
        if agent is None or agent.link != link:
            return
        agent.link = None
        agent.heard = now
        self._state.allocator.deactivate_agent(agent.id)
        self._state.rescind(now, agent)
        for framework in [
            self._state.frameworks[one] for one in _users(agent) if one in self._state.frameworks
        ]:
            if not framework.info.get("checkpoint", False):
                self._lose_tasks(framework, agent, "disconnected", "REASON_AGENT_DISCONNECTED")

    def unregistered(self, now: float, link: str) -> None:
        """Remove an agent that says that it leaves."""
        agent = self._state.agents.get(self._links.pop(link, ""))
        if agent is None:
            return
        agent.link = None
        self._state.allocator.deactivate_agent(agent.id)
        affected = [self._state.frameworks[one] for one in _users(agent) if one in self._state.frameworks]
        for framework in affected:
            self._lose_tasks(framework, agent, "removed: the agent unregistered", "REASON_AGENT_REMOVED")
        self._state.rescind(now, agent)
        for framework in affected:
            self._state.send(framework, {"type": "FAILURE", "failure": {"agent_id": {"value": agent.id}}})
        self._state.allocator.remove_agent(agent.id)
        self._state.announce("AGENT_REMOVED", lambda: {"agent_id": {"value": agent.id}})
        del self._state.agents[agent.id]
        self._state.out.append(Save(agent.id, None))
        self._state.count("slave_removals")
        self._state.count("slave_removals/reason_unregistered")

    def _lose_tasks(self, framework: Framework, agent: Agent, what: str, reason: str) -> None:
        """End a framework's tasks and executors on an agent, in the master's books (LOST, whatever it is aware of)."""
        for key, task in list(agent.tasks.items()):
            if key[0] != framework.id:
                continue
            if task.state not in TERMINAL:
                self._state.recover_resources(task)
                task.state = "TASK_LOST"
                self._state.count("tasks_lost")
                text = f"Agent {agent.hostname} {what}"
                self._state.tell_status(framework, task_ids(task), "TASK_LOST", text, reason)
            self._state.complete(framework, task)
        for key in [key for key in agent.executors if key[0] == framework.id]:
            executor = agent.executors.pop(key)
            self._state.allocator.recover(framework.id, executor.role, agent.id, executor.resources)

    def update(self, agent_id: str, message: Json) -> None:
        """Forward an agent's status update: `status`, `framework_id`, `latest_state`."""
        framework = self._state.frameworks.get(message["framework_id"])
        if framework is None:
            return
        status = message["status"]
        task = framework.tasks.get(status["task_id"]["value"])
        if task is not None:
            latest = message["latest_state"]
            if task.state not in TERMINAL:
                if latest in TERMINAL:
                    self._state.recover_resources(task)
                    self._state.count(latest.lower().replace("task_", "tasks_"))
                task.move(latest)
            task.update_state, task.update_uuid = status["state"], status["uuid"]
            task.note(status)
            self._state.announce_status(framework, status, task.state)
        self._state.send(framework, {"type": "UPDATE", "update": {"status": status}})

    def executor_exited(self, agent_id: str, framework_id: str, executor_id: str, status: int | None) -> None:
        """Note that a custom executor is gone: its resources are free, its framework hears FAILURE.

        Parameters
        ----------
        status
            The raw wait status; None if there is none.
        """
        agent = self._state.agents[agent_id]
        executor = agent.executors.pop((framework_id, executor_id), None)
        if executor is None:
            return
        self._state.allocator.recover(framework_id, executor.role, agent_id, executor.resources)
        framework = self._state.frameworks.get(framework_id)
        if framework is not None:
            failure = {"agent_id": {"value": agent_id}, "executor_id": {"value": executor_id}}
            self._state.send(
                framework,
                {"type": "FAILURE", "failure": {**failure, "status": -1 if status is None else status}},
            )

    def executor_message(self, agent_id: str, framework_id: str, executor_id: str, data: str) -> None:
        """Forward an executor's message to its framework.

        Parameters
        ----------
        data
            Base64, as it came.
        """
        framework = self._state.frameworks.get(framework_id)
        if framework is not None:
            message = {"agent_id": {"value": agent_id}, "executor_id": {"value": executor_id}, "data": data}
            self._state.send(framework, {"type": "MESSAGE", "message": message})

    def _lost(self, now: float, agent: Agent) -> None:
        if agent.link is not None:
            self._links.pop(agent.link, None)
            self._state.out.append(ToAgent(agent.link, {"op": "close"}))
            agent.link = None
        agent.unreachable_since = self._state.wall()
        for name in (
            "unreachable_scheduled",
            "unreachable_completed",
            "removals",
            "removals/reason_unhealthy",
        ):
            self._state.count(f"slave_{name}")
        self._state.out.append(
            Save(agent.id, {"info": agent.info, "unreachable_since": agent.unreachable_since})
        )
        self._state.allocator.deactivate_agent(agent.id)
        self._state.rescind(now, agent)
        affected = _users(agent)
        for task in list(agent.tasks.values()):
            framework = self._state.frameworks.get(task.framework_id)
            if framework is None or task.state in TERMINAL:
                continue
            self._state.recover_resources(task)
            state = state_for(framework.info, "TASK_UNREACHABLE")
            more = {"unreachable_time": nanoseconds(agent.unreachable_since)}
            ids = task_ids(task)
            self._state.tell_status(
                framework, ids, state, "health check timed out", "REASON_AGENT_REMOVED", **more
            )
            task.state = task.update_state = state
            framework.tasks.pop(task.id, None)
            framework.unreachable[task.id] = task
        agent.tasks.clear()
        for key, executor in list(agent.executors.items()):
            self._state.allocator.recover(key[0], executor.role, agent.id, executor.resources)
        agent.executors.clear()
        for framework_id in affected:
            if framework_id in self._state.frameworks:
                failure = {"type": "FAILURE", "failure": {"agent_id": {"value": agent.id}}}
                self._state.send(self._state.frameworks[framework_id], failure)
        self._state.allocator.remove_agent(agent.id)
        self._state.announce("AGENT_REMOVED", lambda: {"agent_id": {"value": agent.id}})


def _users(agent: Agent) -> list[str]:
    return sorted({key[0] for key in agent.executors} | {key[0] for key in agent.tasks})
