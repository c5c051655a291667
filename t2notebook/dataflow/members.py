"""The members of a cluster: which workers of which jobs it wants, and what has become of each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model.reducer import JobView
from ..model.states import TaskState
from ..model.worker_view import WorkerView

#: So many jobs in a row whose workers failed before they had joined the Dask scheduler are no accident.
MOST_STILLBORN = 3


@dataclass
class Member:
    """A worker of a job that is to be a worker of Dask.

    Parameters
    ----------
    name : str
        Dask's name of it; it keeps that when it is started again.
    job_id : str
    worker_id : int

    Attributes
    ----------
    has_joined : bool
        Whether the Dask scheduler has seen it.
    is_leaving : bool
        Whether it has been told to leave; it is no part of the plan any more.
    """

    name: str
    job_id: str
    worker_id: int
    has_joined: bool = False
    is_leaving: bool = False


@dataclass(frozen=True)
class Ended:
    """A member that has ended for good, unasked or asked, and why."""

    member: Member
    why: str
    is_error: bool
    reason: str


@dataclass
class Members:
    """The members by name, those that have left included: their logs may still be asked for.

    Attributes
    ----------
    all : dict
        In the order in which they came.
    """

    all: dict[str, Member] = field(default_factory=dict)
    next_number: int = 0
    stillborn: set[str] = field(default_factory=set)
    _would_fail_again: bool = False
    _gone: set[str] = field(default_factory=set)

    def new_names(self, count: int) -> list[str]:
        """Return names that no member has had."""
        first, self.next_number = self.next_number, self.next_number + count
        return [str(number) for number in range(first, first + count)]

    def add(self, job_id: str, names: Sequence[str]) -> None:
        """Take in the workers of a new job, named in the order of their ids."""
        for worker_id, name in enumerate(names):
            self.all[name] = Member(name, job_id, worker_id)

    @property
    def planned(self) -> list[Member]:
        """Those that are to be."""
        return [one for name, one in self.all.items() if name not in self._gone and not one.is_leaving]

    @property
    def present(self) -> list[Member]:
        """Those that have not ended, whether they are to be or are leaving."""
        return [one for name, one in self.all.items() if name not in self._gone]

    def joined(self, names: Iterable[str]) -> None:
        """Note which the Dask scheduler knows."""
        for name in names:
            if (member := self.all.get(str(name))) is not None:
                member.has_joined = True
                self.try_again()

    def settle(self, views: Mapping[str, JobView]) -> Iterator[Ended]:
        """Take out those whose workers have ended for good; yield them.

        Parameters
        ----------
        views : mapping
            The jobs, by id; a job that is missing has not been heard of yet.
        """
        for member in self.present:
            view = views.get(member.job_id)
            if view is None or not view.workers:
                continue
            worker = view.workers[member.worker_id]
            if not (worker.is_done or (view.state.is_final and worker.state.is_terminal)):
                continue
            self._gone.add(member.name)
            if _is_error(worker) and not (member.has_joined or member.is_leaving):
                self.stillborn.add(member.job_id)
                self._would_fail_again |= worker.result == "error"
            yield Ended(member, _why(worker, view), _is_error(worker), worker.reason)

    @property
    def is_infeasible(self) -> bool:
        """Whether further members would fare no better."""
        return self._would_fail_again or len(self.stillborn) >= MOST_STILLBORN

    def try_again(self) -> None:
        """Have further members tried: somebody asks for them."""
        self.stillborn.clear()
        self._would_fail_again = False

    def to_leave(self, count: int, observed: Iterable[str]) -> tuple[list[str], int]:
        """Return which members leave first, those that Dask does not know yet, the newest first; and how many of the
        others have to.
        """
        known = {str(name) for name in observed}
        waiting = [member.name for member in reversed(self.planned) if member.name not in known]
        chosen = waiting[:count]
        return chosen, count - len(chosen)

    def state(self) -> dict[str, Any]:
        """Return a record from which `restore` makes the same."""
        return {
            "members": [[one.name, one.job_id, one.worker_id, one.has_joined] for one in self.present],
            "next_number": self.next_number,
        }

    @classmethod
    def restore(cls, record: Mapping[str, Any]) -> Members:
        """Inverse of `state`."""
        found = cls(next_number=int(record.get("next_number", 0)))
        for name, job_id, worker_id, has_joined in record.get("members", ()):
            found.all[name] = Member(name, job_id, int(worker_id), bool(has_joined))
        return found


def _why(worker: WorkerView, view: JobView) -> str:
    if worker.state is TaskState.FINISHED:
        return "it has left"
    return worker.message or worker.reason or view.message or worker.state.value


def _is_error(worker: WorkerView) -> bool:
    return worker.state not in (TaskState.FINISHED, TaskState.KILLED)
