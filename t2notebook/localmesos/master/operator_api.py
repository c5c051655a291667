"""The v1 operator API of the master: POST /api/v1."""

from __future__ import annotations

from collections.abc import Callable

from ..common.ids import VERSION
from ..common.task_states import Json
from ..http import files, http1
from ..http.responses import BUILD, v1_json
from ..http.server import EventStream
from ..v1 import requests
from ..v1.operator_calls import validate_call
from .operator_messages import agent_json, executor_json, framework_json, task_json
from .state import MasterState

Teardown = Callable[[str], bool]
Subscribe = Callable[[Json], EventStream]


class OperatorApi:
    """Answers operators' calls; the one change is a teardown, which the caller does.

    Parameters
    ----------
    attached
        The files that LIST_FILES and READ_FILE show (the master's log).
    """

    def __init__(
        self,
        master: MasterState,
        flags: Callable[[], dict[str, str]],
        metrics: Callable[[], dict[str, float]],
        attached: files.Files,
    ) -> None:
        self._master = master
        self._flags = flags
        self._metrics = metrics
        self._files = attached
        self._calls: dict[str, Callable[[], Json]] = {
            "GET_HEALTH": lambda: {"healthy": True},
            "GET_VERSION": lambda: {"version_info": {"version": VERSION, **BUILD}},
            "GET_FLAGS": lambda: {"flags": [{"name": k, "value": v} for k, v in flags().items()]},
            "GET_METRICS": lambda: {"metrics": [{"name": k, "value": v} for k, v in metrics().items()]},
            "GET_LOGGING_LEVEL": lambda: {"level": 0},
            "GET_MASTER": self._master_info,
            "GET_AGENTS": self._agents,
            "GET_FRAMEWORKS": self._frameworks,
            "GET_TASKS": self._tasks,
            "GET_EXECUTORS": self._executors,
            "GET_OPERATIONS": dict,
            "GET_ROLES": self._roles,
            "GET_STATE": self.state,
            "GET_MAINTENANCE_STATUS": lambda: {"status": {}},
            "GET_MAINTENANCE_SCHEDULE": lambda: {"schedule": {}},
            "GET_QUOTA": lambda: {"status": {}},
        }

    def handle(
        self, request: http1.Request, teardown: Teardown, subscribe: Subscribe
    ) -> http1.Response | EventStream:
        """Answer one call.

        Parameters
        ----------
        teardown, subscribe
            Remove a framework; open an operator's stream of events.
        """
        call = requests.read(request, "master.Call", "master::Call", validate_call("master"))
        requests.check_accept(request)
        kind = call["type"]
        if kind in self._calls:
            return v1_json(kind, self._calls[kind]())
        if kind == "GET_WEIGHTS":
            return v1_json(kind)
        if kind == "SUBSCRIBE":
            return subscribe({"get_state": self.state(), "heartbeat_interval_seconds": 15.0})
        if kind in ("LIST_FILES", "READ_FILE"):
            return self._file(kind, call[kind.lower()])
        if kind == "TEARDOWN":
            if not teardown(call["teardown"]["framework_id"]["value"]):
                return http1.text(400, "No framework found with specified ID")
            return http1.Response(202)
        if kind == "SET_LOGGING_LEVEL":
            return http1.Response(200)  # as /logging/toggle: it is taken, and changes nothing here
        return http1.text(501, "501 Not Implemented.")

    def _file(self, kind: str, ask: Json) -> http1.Response:
        try:
            if kind == "LIST_FILES":
                answer = self._files.list_v1(ask["path"])
            else:
                answer = self._files.read_v1(ask["path"], ask["offset"], ask.get("length"))
        except files.FilesError as error:
            return http1.text(error.status, str(error))
        return v1_json(kind, answer[kind.lower()])

    def state(self) -> Json:
        """Give GET_STATE."""
        return {
            "get_tasks": self._tasks(),
            "get_executors": self._executors(),
            "get_frameworks": self._frameworks(),
            "get_agents": self._agents(),
        }

    def _master_info(self) -> Json:
        started, elected = self._master.started, self._master.elected
        return {
            "master_info": self._master.info,
            "start_time": started,
            "elected_time": started if elected is None else elected,
        }

    def _agents(self) -> Json:
        agents = [agent_json(agent) for agent in self._master.agents.values() if agent.reachable]
        return {"agents": agents, "recovered_agents": list(self._master.recovered.values())}

    def _frameworks(self) -> Json:
        master = self._master
        return {
            "frameworks": [framework_json(master, one) for one in master.frameworks.values()],
            "completed_frameworks": [framework_json(master, one) for one in master.completed],
        }

    def _tasks(self) -> Json:
        names = ("tasks", "unreachable_tasks", "completed_tasks")
        groups = zip(names, self._master.all_tasks(), strict=True)
        return {name: [task_json(task) for task in tasks] for name, tasks in groups}

    def _executors(self) -> Json:
        return {
            "executors": [
                {"executor_info": executor_json(framework_id, one), "agent_id": {"value": agent.id}}
                for agent in self._master.agents.values()
                for (framework_id, _), one in agent.executors.items()
            ],
        }

    def _roles(self) -> Json:
        roles = []
        for role in self._master.role_names():
            shown: Json = {"name": role, "weight": self._master.weights.get(role, 1.0)}
            shown["frameworks"] = [{"value": one.id} for one in self._master.frameworks_in(role)]
            held = self._master.held_by(role)
            shown["resources"] = [
                {"name": name, "type": "SCALAR", "scalar": {"value": held.amount(name)}}
                for name in sorted(held.scalars)
            ]
            roles.append(shown)
        return {"roles": roles}
