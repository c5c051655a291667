"""A subscribed framework's calls: ACCEPT, DECLINE, KILL, RECONCILE and the rest. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..common.ids import nanoseconds
from ..common.resources import Resources
from ..common.task_states import TERMINAL, Json, state_for
from ..v1.schema import in_order
from . import validation
from .model import Agent, Executor, Framework, Task
from .operator_messages import framework_event, task_json
from .state import CallError, MasterState, ToAgent


class FrameworkCalls:
    """The frameworks' calls to a master, all but SUBSCRIBE.

    Parameters
    ----------
    state
        The master's.
    """

    def __init__(self, state: MasterState) -> None:
        self._state = state

    def authorize(self, call: Json, stream_id: str | None) -> Framework:
        """Find the framework that a call (not SUBSCRIBE) comes from.

        Raises
        ------
        CallError
            400 or 403, as recorded.
        """
        framework = self._state.frameworks.get(call["framework_id"]["value"])
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

    def handle(self, now: float, framework: Framework, call: Json) -> int:
        """Handle a call of a subscribed framework.

        Parameters
        ----------
        call
            Validated.

        Returns
        -------
        int
            The status to answer with.

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
                    self._state.take_back(now, offer, 5.0 if refuse is None else refuse)
        elif kind == "REVIVE":
            roles = set(call.get("revive", {}).get("roles") or framework.roles) & set(framework.roles)
            framework.suppressed -= roles
            self._state.allocator.revive(framework.id, roles)
            self._state.allocate(now)
        elif kind == "SUPPRESS":
            roles = set(call.get("suppress", {}).get("roles") or framework.roles) & set(framework.roles)
            framework.suppressed |= roles
            self._state.allocator.suppress(framework.id, roles)
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
            self._state.remove_framework(now, framework)
        elif kind == "UPDATE_FRAMEWORK":
            self._update_framework(now, framework, call["update_framework"])
            return 200
        elif kind == "RECONCILE_OPERATIONS":
            self._reconcile_operations(framework, call["reconcile_operations"].get("operations", []))
        # REQUEST, ACKNOWLEDGE_OPERATION_STATUS and the inverse offers' calls have nothing to act on, as in Mesos.
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
        self._state.enter(framework)
        self._state.announce("FRAMEWORK_UPDATED", lambda: framework_event(framework))
        self._state.allocate(now)
        for agent in self._state.agents_of(framework):
            if agent.link is not None:
                message = {"op": "update_framework", "framework": info, "framework_id": framework.id}
                self._state.out.append(ToAgent(agent.link, message))

    def _accept(self, now: float, framework: Framework, accept: Json) -> None:
        operations = accept.get("operations", [])
        ids = [item["value"] for item in accept.get("offer_ids", [])]
        fault = validation.offers(ids, self._state.offers, framework) if ids else "No offers specified"
        found = [
            framework.offers[offer_id] for offer_id in dict.fromkeys(ids) if offer_id in framework.offers
        ]
        tasks = [info for operation in operations for info in _tasks_of(operation)]
        if fault is not None:
            for offer in found:
                self._state.take_back(now, offer, None)
            lost = state_for(framework.info, "TASK_DROPPED")
            for info in tasks:
                message = f"Task launched with invalid offers: {fault}"
                self._state.tell_status(framework, _ids(info), lost, message, "REASON_INVALID_OFFERS")
            for operation in operations:
                self._refuse_operation(
                    framework, operation, f"Operation attempted with invalid offers: {fault}"
                )
            return
        role, agent = found[0].role, self._state.agents[found[0].agent_id]
        remaining = Resources()
        for offer in found:
            remaining = remaining + offer.resources
            self._state.forget_offer(offer)
        for operation in operations:
            if operation.get("type") == "LAUNCH_GROUP":
                remaining = remaining - self._accept_group(
                    framework, agent, role, remaining, operation.get("launch_group", {})
                )
                continue
            self._refuse_operation(framework, operation, "The embedded Mesos does not reserve resources")
            for info in _tasks_of(operation):
                fault = validation.task(info, framework, agent, remaining, role)
                if fault is not None:
                    self._state.tell_status(framework, _ids(info), "TASK_ERROR", fault, "REASON_TASK_INVALID")
                    continue
                remaining = remaining - self._launch(framework, agent, role, info)
        refuse = accept.get("filters", {}).get("refuse_seconds", 5.0)
        self._state.allocator.recover(framework.id, role, agent.id, remaining, now=now, refuse=refuse)

    def _launch(self, framework: Framework, agent: Agent, role: str, info: Json) -> Resources:
        """Launch one valid task; give what it takes from the offer."""
        info = dict(info)
        info["resources"] = _allocated(info.get("resources", []), role)
        executor_id, held = "", None
        if "executor" in info:
            executor_id = info["executor"]["executor_id"]["value"]
            info["executor"], held = self._admit_executor(framework, agent, role, info["executor"])
        taken = self._admit_task(framework, agent, role, info, executor_id)
        if agent.link is not None:
            message = {
                "op": "run_task",
                "framework_id": framework.id,
                "framework": framework.info,
                "task": info,
                "role": role,
                "new_executor": held is not None,
            }
            self._state.out.append(ToAgent(agent.link, message))
        return taken if held is None else taken + held

    def _accept_group(
        self, framework: Framework, agent: Agent, role: str, remaining: Resources, group: Json
    ) -> Resources:
        """Launch a task group if it is valid; give what it takes from the offer."""
        infos = list(group.get("task_group", {}).get("tasks", []))
        original = group.get("executor", {})
        fault = validation.task_group(infos, original, framework, agent, remaining, role)
        if fault is not None:
            for info in infos:
                self._state.tell_status(
                    framework, _ids(info), "TASK_ERROR", fault, "REASON_TASK_GROUP_INVALID"
                )
            return Resources()
        executor, held = self._admit_executor(framework, agent, role, original)
        taken, tasks = held or Resources(), []
        for item in infos:
            info = {**item, "resources": _allocated(item.get("resources", []), role)}
            taken = taken + self._admit_task(framework, agent, role, info, original["executor_id"]["value"])
            tasks.append(info)
        if agent.link is not None:
            message = {
                "op": "run_group",
                "framework_id": framework.id,
                "framework": framework.info,
                "executor": executor,
                "tasks": tasks,
                "role": role,
                "new_executor": held is not None,
            }
            self._state.out.append(ToAgent(agent.link, message))
        return taken

    def _admit_executor(
        self, framework: Framework, agent: Agent, role: str, original: Json
    ) -> tuple[Json, Resources | None]:
        """Give an ExecutorInfo as its agent gets it, and what it takes if it is new there."""
        key, held = (framework.id, original["executor_id"]["value"]), None
        if key not in agent.executors:
            held = Resources.from_json(original.get("resources", []))
            agent.executors[key] = Executor(original, held, role)
        executor = {"type": original.get("type", "CUSTOM"), "executor_id": original["executor_id"]}
        executor["framework_id"] = {"value": framework.id}
        executor |= {name: value for name, value in original.items() if name not in executor}
        executor["resources"] = _allocated(original.get("resources", []), role)
        return in_order("ExecutorInfo", executor), held

    def _admit_task(
        self, framework: Framework, agent: Agent, role: str, info: Json, executor_id: str
    ) -> Resources:
        """Enter a task in the books; give what it takes."""
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
        framework.served_by[agent.id] = None
        framework.tasks[task.id] = task
        agent.tasks[(framework.id, task.id)] = task
        self._state.announce("TASK_ADDED", lambda: {"task": task_json(task)})
        return task.resources

    def _refuse_operation(self, framework: Framework, operation: Json, why: str) -> None:
        """Refuse what is no launch; only an operation with an id gets feedback, as in Mesos."""
        kind = operation.get("type", "UNKNOWN")
        if kind in ("LAUNCH", "LAUNCH_GROUP") or "id" not in operation:
            return
        status = {"operation_id": operation["id"], "state": "OPERATION_ERROR", "message": f"{kind}: {why}"}
        self._operation_status(framework, status)

    def _reconcile_operations(self, framework: Framework, wanted: Iterable[Json]) -> None:
        for item in wanted:
            status = {"operation_id": item["operation_id"], "state": "OPERATION_UNKNOWN"}
            status["message"] = "Reconciliation: Operation is unknown"
            status |= {name: item[name] for name in ("agent_id", "resource_provider_id") if name in item}
            self._operation_status(framework, status)

    def _operation_status(self, framework: Framework, status: Json) -> None:
        event = {"type": "UPDATE_OPERATION_STATUS", "update_operation_status": {"status": status}}
        self._state.send(framework, event)

    def _kill(self, framework: Framework, kill: Json) -> None:
        task_id = kill["task_id"]["value"]
        task = framework.tasks.get(task_id)
        if task is None or task.state == "TASK_UNREACHABLE":
            self._reconcile(framework, [kill])
            return
        message: Json = {"op": "kill_task", "framework_id": framework.id, "task_id": task_id}
        if "kill_policy" in kill:
            message["kill_policy"] = kill["kill_policy"]
        agent = self._state.agents[task.agent_id]
        if agent.link is None:
            agent.kills.append(message)
        else:
            self._state.out.append(ToAgent(agent.link, message))

    def _to_executor(self, framework: Framework, op: str, ids: Json, **more: Any) -> None:
        agent = self._state.agents.get(ids["agent_id"]["value"])
        if agent is not None and agent.link is not None:
            executor_id = ids["executor_id"]["value"]
            message = {"op": op, "framework_id": framework.id, "executor_id": executor_id, **more}
            self._state.out.append(ToAgent(agent.link, message))

    def _acknowledge(self, framework: Framework, ack: Json) -> None:
        task_id, agent = ack["task_id"]["value"], self._state.agents.get(ack["agent_id"]["value"])
        if agent is None:
            return
        task = framework.tasks.get(task_id)
        if task is not None and task.update_state in TERMINAL and task.update_uuid == ack["uuid"]:
            self._state.complete(framework, task)
        if agent.link is not None:
            message = {"op": "ack", "framework_id": framework.id, "task_id": task_id, "uuid": ack["uuid"]}
            self._state.out.append(ToAgent(agent.link, message))

    def _reconcile(self, framework: Framework, wanted: Iterable[Json]) -> None:
        wanted = list(wanted)
        if not wanted:
            for known in list(framework.tasks.values()):
                self._latest(framework, known)
            return
        for item in wanted:
            ids: Json = {"task_id": item["task_id"]}
            if "agent_id" in item:
                ids["agent_id"] = item["agent_id"]
            task_id = item["task_id"]["value"]
            task = framework.tasks.get(task_id)
            agent_id = item.get("agent_id", {}).get("value", "")
            agent = self._state.agents.get(agent_id)
            if task is not None:
                self._latest(framework, task)
            elif self._state.recovered and (not agent_id or agent_id in self._state.recovered):
                pass  # an agent of an earlier master may still bring it: no answer is the answer
            elif agent_id in self._state.unreachable_ids:
                state = state_for(framework.info, "TASK_UNREACHABLE")
                more = {"unreachable_time": nanoseconds(self._state.unreachable_ids[agent_id])}
                self._reconciled(framework, ids, state, "Task is unreachable", **more)
            elif task_id in framework.unreachable or (agent is not None and not agent.reachable):
                lost_task = framework.unreachable.get(task_id)
                if lost_task is not None:
                    agent = self._state.agents.get(lost_task.agent_id, agent)
                    ids["agent_id"] = {"value": lost_task.agent_id}
                since = agent.unreachable_since if agent is not None else None
                more = {} if since is None else {"unreachable_time": nanoseconds(since)}
                state = state_for(framework.info, "TASK_UNREACHABLE")
                self._reconciled(framework, ids, state, "Task is unreachable", **more)
            elif agent is not None:
                state = state_for(framework.info, "TASK_GONE")
                self._reconciled(framework, ids, state, "Task is unknown to the agent")
            else:
                state = state_for(framework.info, "TASK_UNKNOWN")
                self._reconciled(framework, ids, state, "Task is unknown")

    def _latest(self, framework: Framework, task: Task) -> None:
        more: Json = {}
        if task.statuses:
            more = {
                k: task.statuses[-1][k] for k in ("healthy", "container_status") if k in task.statuses[-1]
            }
        ids = {"task_id": {"value": task.id}, "agent_id": {"value": task.agent_id}}
        self._reconciled(framework, ids, task.known_state, "Latest task state", **more)

    def _reconciled(self, framework: Framework, ids: Json, state: str, text: str, **more: Any) -> None:
        self._state.tell_status(
            framework, ids, state, f"Reconciliation: {text}", "REASON_RECONCILIATION", **more
        )


def _tasks_of(operation: Json) -> list[Json]:
    kind = operation.get("type")
    if kind == "LAUNCH":
        return list(operation.get("launch", {}).get("task_infos", []))
    if kind != "LAUNCH_GROUP":
        return []
    return list(operation.get("launch_group", {}).get("task_group", {}).get("tasks", []))


def _ids(info: Json) -> Json:
    return {"task_id": info["task_id"], "agent_id": info["agent_id"]}


def _allocated(items: Iterable[Json], role: str) -> list[Json]:
    return [{**item, "allocation_info": {"role": role}} for item in items]
