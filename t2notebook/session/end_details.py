"""Details of a worker's end, looked for before that end is told: its traceback, or why its executor cannot start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..journal.job_store import JobRecord
from ..mesos.agent_files import PAGE, Sandbox
from ..model.start_errors import silent_start, start_failure, unknown_user, without_fetcher
from ..model.states import TaskState
from ..protocol.launch import Cause, decode_result, encode_status_data
from .result_fetcher import ResultFetcher

log = logging.getLogger(__name__)

#: Seconds that a failed worker's traceback is looked for before its end is told.
TRACEBACK_PATIENCE = 3.0
#: Seconds that an agent has to repeat an update of which the master has told the state alone.
UPDATE_PATIENCE = 2.0
#: Reasons for the end of a task that never reached its executor's code.
_OF_EXECUTORS = ("", "REASON_EXECUTOR_TERMINATED", "REASON_COMMAND_EXECUTOR_FAILED")
_TOLD_BY_AGENTS = frozenset({TaskState.FINISHED, TaskState.FAILED, TaskState.KILLED})


class EndDetails:
    """Looks for what says more than the bare end of a worker.

    Parameters
    ----------
    find : callable
        Returns the job and the worker id of a task that has not ended, or None.
    sandbox : callable
        Returns a worker's sandbox and its folder there, or None.
    results : ResultFetcher
    """

    def __init__(
        self,
        find: Callable[[str], tuple[JobRecord, int] | None],
        sandbox: Callable[[JobRecord, int], tuple[Sandbox, str] | None],
        results: ResultFetcher,
    ) -> None:
        self._find, self._sandbox, self._results = find, sandbox, results

    def before(self, status: Mapping[str, Any]) -> Awaitable[Any] | None:
        """Return what is to be awaited before an update is taken, or None.

        A small result that came with it is taken at once. To be awaited is a worker's traceback, also one that was made
        when nobody listened, and, where a master only answers our question, the update that its agent repeats
        meanwhile, with exit code and message.
        """
        state = TaskState.from_mesos(status["state"])
        if state in _TOLD_BY_AGENTS and (result := decode_result(status.get("data"))) is not None:
            found = self._find(status["task_id"]["value"])
            if found is not None:
                self._results.take(*found, result)
        if status.get("reason") == "REASON_RECONCILIATION" and state in _TOLD_BY_AGENTS:
            return asyncio.sleep(UPDATE_PATIENCE)
        if state is not TaskState.FAILED:
            return None
        found = self._find(status["task_id"]["value"])
        if found is None or found[0].view.workers[found[1]].result or found[0].view.kill_reason:
            return None
        has_run = found[0].view.workers[found[1]].started is not None
        if not has_run and not status.get("data") and status.get("reason", "") in _OF_EXECUTORS:
            return self._explain_start(status, *found)
        return self._results.try_fetch(found[0], found[1], patience=TRACEBACK_PATIENCE)

    async def _explain_start(
        self, status: Mapping[str, Any], job: JobRecord, worker_id: int
    ) -> Mapping[str, Any]:
        """Return the update of a worker that never ran with the reason that its executor's own output gives."""
        place = self._sandbox(job, worker_id)
        if place is None or unknown_user(status.get("message", "")):
            return status
        try:
            async with asyncio.timeout(TRACEBACK_PATIENCE):
                size = await place[0].size("stderr")
                text = await place[0].read("stderr", max(0, size - PAGE), PAGE)
        except Exception as error:  # whatever it is: Mesos's own words have to do
            log.info("no stderr of the executor of worker %s of %s: %s", worker_id, job.job_id, error)
            return status
        stderr = text.decode("utf-8", "replace")
        if not (line := start_failure(stderr)) and without_fetcher(stderr).strip():
            return status
        where = job.view.workers[worker_id].host or "the agent"
        image = job.spec.resource_of(worker_id).image
        where = f"{where} in the image {image}" if image else where
        if not line:
            # It may have been killed, so that this is no cause of its own and it is tried as often as after a crash.
            message = f"{status.get('message', '')}; {silent_start(where)}".removeprefix("; ")
            return {**status, "message": message}
        message = f"the executor cannot start on {where}: {line}\n{status.get('message', '')}"
        return {**status, "message": message, "data": encode_status_data(None, Cause.START)}
