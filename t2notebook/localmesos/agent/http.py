"""Views of an agent: /state and its kin, the files API, the v1 operator API."""

from __future__ import annotations

import os
import time

from ..common import attributes, processes
from ..common.durations import duration
from ..common.ids import VERSION
from ..common.resources import Resources
from ..common.task_states import TERMINAL, Json, roles_of
from ..http import files, http1
from ..http.metrics import of_resources, of_system, timeout_fault
from ..http.responses import BUILD, old_command, old_json, small_answer, v1_json, version, without_pid
from ..v1 import requests
from ..v1.capabilities import AGENT_CAPABILITIES
from ..v1.operator_calls import validate_call
from . import operator_api
from .executors.executor import SHUTDOWN_GRACE
from .options import AgentOptions
from .state.agent_state import AgentState
from .state.model import ExecutorRun, FrameworkRun, TaskRun

_FILE_CALLS = {"LIST_FILES": "list_files", "READ_FILE": "read_file"}


class AgentViews:
    """Answers questions; changes nothing.

    Parameters
    ----------
    state, options
        The agent's.
    isolation
        Mesos's name of it.
    """

    def __init__(self, state: AgentState, options: AgentOptions, isolation: str) -> None:
        self._state = state
        self._options = options
        self._isolation = isolation

    def handle(self, request: http1.Request, path: str) -> http1.Response:
        """Answer one request."""
        if path.startswith("/files/"):
            return self._files_get(request, path)
        if path == "/api/v1" or path.startswith("/api/v1/"):
            return self._v1(request)
        if path.startswith(("/logging/", "/system/")):
            return small_answer(request, path)
        if path == "/health":
            return http1.Response(200)
        if path == "/version":
            return old_json(version(), request)
        if path == "/state":
            return old_json(self._state_view(), request)
        if path == "/flags":
            return old_json({"flags": self._flags()}, request)
        if path == "/monitor/statistics":
            return old_json([self._statistics(run) for run in self._living() if run.pid is not None], request)
        if path == "/containers":
            return old_json([self._container(run) for run in self._living() if run.pid is not None], request)
        if path == "/metrics/snapshot":
            fault = timeout_fault(request.query.get("timeout"))
            if fault is not None:
                return http1.text(400, fault)
            return old_json(self._metrics(), request)
        return http1.not_found()

    def _files(self) -> files.Files:
        found = files.Files()
        for framework in self._state.frameworks.values():
            for run in (*framework.completed, *framework.executors.values()):
                if run.collected:
                    continue
                virtual = f"/frameworks/{framework.id}/executors/{run.executor_id}/runs"
                # The last is ours: the page links to a task's own run, which may not be the latest.
                for runs in (os.path.dirname(run.directory), virtual):
                    found.attach(f"{runs}/latest", run.directory)
                    found.attach(f"{runs}/{run.container_id}", run.directory)
        return found

    def _files_get(self, request: http1.Request, path: str) -> http1.Response:
        return self._files().get(request, path)

    def _v1(self, request: http1.Request) -> http1.Response:
        call = requests.read(request, "agent.Call", "agent::Call", validate_call("agent"))
        requests.check_accept(request)
        kind = call["type"]
        if kind in _FILE_CALLS:
            attached, ask = self._files(), call[_FILE_CALLS[kind]]
            try:
                if kind == "LIST_FILES":
                    answer = attached.list_v1(ask["path"])
                else:
                    answer = attached.read_v1(ask["path"], ask["offset"], ask.get("length"))
            except files.FilesError as error:
                return http1.text(error.status, str(error))
            return v1_json(kind, answer[_FILE_CALLS[kind]])
        if kind == "GET_HEALTH":
            return v1_json(kind, {"healthy": True})
        if kind == "GET_VERSION":
            return v1_json(kind, {"version_info": {"version": VERSION, **BUILD}})
        if kind == "GET_FLAGS":
            return v1_json(kind, {"flags": [{"name": k, "value": v} for k, v in self._flags().items()]})
        if kind == "GET_METRICS":
            return v1_json(kind, {"metrics": [{"name": k, "value": v} for k, v in self._metrics().items()]})
        found = operator_api.answers(self._state, self._statistics).get(kind)
        if found is not None:
            return v1_json(kind, found())
        if kind == "SET_LOGGING_LEVEL":
            return http1.Response(200)
        return http1.text(501, "501 Not Implemented.")

    # /state

    def _living(self) -> list[ExecutorRun]:
        return list(self._state.executors())

    def _state_view(self) -> Json:
        agent, total = self._state, self._options.resources
        used = Resources()
        for run in self._living():
            used = used + run.resources
        current = [f for f in agent.frameworks.values() if f.executors]
        done = [f for f in agent.frameworks.values() if not f.executors]
        return {
            "version": VERSION,
            **BUILD,
            "start_time": agent.started,
            "id": agent.identity.id,
            "pid": agent.identity.pid,
            "hostname": agent.identity.ip,
            "capabilities": list(AGENT_CAPABILITIES),
            "resources": total.summary(),
            "reserved_resources": {},
            "unreserved_resources": total.summary(),
            "reserved_resources_full": {},
            "unreserved_resources_full": total.to_json("*"),
            "reserved_resources_allocated": {},
            "unreserved_resources_allocated": used.summary(),
            "resource_providers": [],
            "attributes": attributes.summary(self._options.attributes),
            "master_hostname": self._options.master[0],
            "flags": self._flags(),
            "frameworks": [self._framework(one) for one in current],
            "completed_frameworks": [self._framework(one) for one in done],
        }

    def _framework(self, framework: FrameworkRun) -> Json:
        info = framework.info
        return {
            "id": framework.id,
            "name": info["name"],
            "user": info["user"],
            "failover_timeout": info.get("failover_timeout", 0.0),
            "checkpoint": info.get("checkpoint", False),
            "hostname": info.get("hostname", ""),
            "roles": roles_of(info),
            "executors": [self._executor(run) for run in framework.executors.values()],
            "completed_executors": [self._executor(run) for run in framework.completed],
        }

    def _executor(self, run: ExecutorRun) -> Json:
        more: Json = {} if run.command else {"type": "DEFAULT" if run.default else "CUSTOM"}
        if "labels" in run.info:
            more = {"labels": run.info["labels"].get("labels", []), **more}
        return {
            "id": run.executor_id,
            "name": run.info.get("name", ""),
            "source": run.info.get("source", ""),
            "container": run.container_id,
            "directory": run.directory,
            "resources": run.resources.summary(),
            "role": run.role,
            **more,
            "tasks": [self._task(run, task) for task in run.tasks.values()],
            "queued_tasks": [self._queued(run, task) for task in run.queued.values()],
            "completed_tasks": [self._task(run, task) for task in run.ended],
        }

    def _queued(self, run: ExecutorRun, task: TaskRun) -> Json:
        """Show a task that its executor did not get yet, as `slave/http.cpp` shows a TaskInfo."""
        shown: Json = {
            "id": task.id,
            "name": task.info["name"],
            "slave_id": self._state.identity.id,
            "resources": task.resources.summary(),
            "role": run.role,
        }
        if "command" in task.info:
            shown["command"] = old_command(task.info["command"])
        if "executor" in task.info:
            shown["executor_id"] = run.executor_id
        return {**shown, **({"discovery": task.info["discovery"]} if "discovery" in task.info else {})}

    def _task(self, run: ExecutorRun, task: TaskRun) -> Json:
        status = task.status or {}
        shown = (
            [{k: status[k] for k in ("state", "timestamp", "container_status") if k in status}]
            if status
            else []
        )
        for one in shown:
            if "container_status" in one:
                one["container_status"] = without_pid(one["container_status"])
        labels = task.info.get("labels", {}).get("labels")
        return {
            "id": task.id,
            "name": task.info["name"],
            "framework_id": run.framework_id,
            "executor_id": "" if run.command else run.executor_id,
            "slave_id": self._state.identity.id,
            "state": task.state,
            "resources": task.resources.summary(),
            "role": run.role,
            "statuses": shown,
            **({} if labels is None else {"labels": labels}),
            **({"discovery": task.info["discovery"]} if "discovery" in task.info else {}),
        }

    def _flags(self) -> dict[str, str]:
        options = self._options
        factor = options.registration_backoff_factor
        return {
            "attributes": attributes.flag(options.attributes),
            "executor_registration_timeout": f"{options.registration_timeout:g}secs",
            "executor_shutdown_grace_period": duration(SHUTDOWN_GRACE),
            "cgroups_enable_cfs": "true" if options.cgroups is not None and options.cgroups.cfs else "false",
            "disk_watch_interval": duration(options.disk_watch_interval),
            "gc_delay": duration(options.gc_delay),
            "gc_disk_headroom": f"{options.gc_disk_headroom:g}",
            "hostname": options.hostname or options.ip,
            "ip": options.ip,
            "isolation": self._isolation,
            "master": f"{options.master[0]}:{options.master[1]}",
            "port": str(self._state.identity.port),
            **({} if factor is None else {"registration_backoff_factor": duration(factor)}),
            "switch_user": "true" if os.geteuid() == 0 else "false",
            "work_dir": options.work_dir,
        }

    def _statistics(self, run: ExecutorRun) -> Json:
        ticks, user, system, rss = os.sysconf("SC_CLK_TCK"), 0, 0, 0
        assert run.pid is not None
        for pid in [run.pid, *processes.descendants(run.pid)]:
            try:
                with open(f"/proc/{pid}/stat", "rb") as file:
                    line = file.read()
            except OSError:
                continue
            fields = line[line.rfind(b")") + 2 :].split()
            user, system = user + int(fields[11]), system + int(fields[12])
            rss += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        limits = run.limits
        hard = limits.memory_bytes
        return {
            "executor_id": run.executor_id,
            "executor_name": run.info.get("name", ""),
            "framework_id": run.framework_id,
            "source": run.info.get("source", ""),
            "statistics": {
                "cpus_soft_limit": run.resources.amount("cpus"),
                "cpus_system_time_secs": system / ticks,
                "cpus_user_time_secs": user / ticks,
                **({} if hard is None else {"mem_limit_bytes": hard}),
                "mem_rss_bytes": rss,
                "mem_soft_limit_bytes": int(limits.mem * (1 << 20)),
                "timestamp": time.time(),
            },
        }

    def _container(self, run: ExecutorRun) -> Json:
        return {
            "container_id": run.container_id,
            "executor_id": run.executor_id,
            "executor_name": run.info.get("name", ""),
            "framework_id": run.framework_id,
            "source": run.info.get("source", ""),
            "statistics": self._statistics(run)["statistics"],
            "status": {"container_id": {"value": run.container_id}, "executor_pid": run.pid},
        }

    def _metrics(self) -> dict[str, float]:
        used = Resources()
        for run in self._living():
            used = used + run.resources
        metrics: dict[str, float] = {
            "slave/registered": 1.0,
            "slave/uptime_secs": time.time() - self._state.started,
        }
        metrics |= {**of_resources("slave", self._options.resources, used), **of_system()}
        tasks = [task for run in self._living() for task in (*run.queued.values(), *run.tasks.values())]
        for state in ("staging", "starting", "running", "killing"):
            metrics[f"slave/tasks_{state}"] = float(sum(t.state == f"TASK_{state.upper()}" for t in tasks))
        ended = [
            t
            for f in self._state.frameworks.values()
            for r in (*f.executors.values(), *f.completed)
            for t in r.ended
        ]
        for name in sorted(TERMINAL - {"TASK_DROPPED", "TASK_ERROR", "TASK_GONE_BY_OPERATOR"}):
            metrics[f"slave/{name.lower().replace('task_', 'tasks_')}"] = float(
                sum(t.state == name for t in ended)
            )
        return dict(sorted(metrics.items()))
