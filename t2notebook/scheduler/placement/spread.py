"""Spread limits: the most workers of a job that each value of an attribute may have. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ...model.job import MAX, Placement
from ...model.placement import Attributes, Constraint, Operator, value_of
from .bins import Job, SpreadCounts, is_admitted
from .requests import WorkerLocation


class SpreadLimits:
    """Limits by the constraints that count workers (UNIQUE, SPREAD) in one round.

    Parameters
    ----------
    agents : mapping
        By agent: host and attributes, also of agents that offer nothing now.
    locations : mapping
        By job: the agents on which workers of it run already.
    """

    def __init__(
        self, agents: Mapping[str, tuple[str, Attributes]], locations: Mapping[str, Iterable[WorkerLocation]]
    ) -> None:
        self._agents = agents
        self._locations = locations
        self._value_sets: dict[Any, set[str]] = {}

    def of(self, job: Job) -> SpreadCounts:
        """Return the numbers of a job's workers by value, and how many each value may have."""
        placement = job.requests[0].placement
        constraints = [one for one in placement.constraints if one.operator.counts_workers]
        if not constraints:
            return SpreadCounts((), ())
        rules, counts = [], []
        for constraint in constraints:
            counter: Counter[str] = Counter()
            for location in self._locations.get(job.job_id, ()):
                host, attributes = self._agents.get(location.agent, (location.host, {}))
                if (value := value_of(constraint.attribute, host, attributes)) is not None:
                    counter[value] += 1
            counts.append(counter)
            rules.append((constraint, self._cap(constraint, job, counter)))
        return SpreadCounts(rules, counts)

    def _cap(self, constraint: Constraint, job: Job, counter: Counter[str]) -> int:
        if constraint.operator is Operator.UNIQUE:
            return 1
        values = self._values(constraint.attribute, job.requests[0].placement)
        number = len(values) + sum(value not in values for value in counter)
        # Executors are spread, whole ones: else the last workers of each share would fit nowhere.
        limits = [request.resource.workers_per_executor for request in job.requests]
        unit = max((int(limit) for limit in limits if limit != MAX), default=1)
        total = max(
            job.requests[0].number_of_workers,
            sum(len(request.worker_ids) for request in job.requests) + sum(counter.values()),
        )
        return math.ceil(math.ceil(total / unit) / max(1, number)) * unit

    def _values(self, attribute: str, placement: Placement) -> set[str]:
        """Return the values of the agents that a worker may go to, also of those that offer nothing now."""
        key = (attribute, placement.nodes, placement.where)
        if key not in self._value_sets:
            self._value_sets[key] = {
                value
                for host, attributes in self._agents.values()
                if is_admitted(host, attributes, placement)
                and (value := value_of(attribute, host, attributes)) is not None
            }
        return self._value_sets[key]
