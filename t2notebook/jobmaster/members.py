"""The workers of a job as its job master knows them: which incarnation of each counts, and how it is. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .actions import BarrierResult, DropAnswers, PutAnswer

#: How many ids of workers an explanation names.
_NAMED = 10


class Presence(StrEnum):
    """A worker as the job master knows it."""

    AWAITED = "has not started"
    JOINED = "runs"
    FINISHED = "has finished"
    FAILED = "has failed for good"


#: Those who have joined, whatever became of them then.
HAS_JOINED = (Presence.JOINED, Presence.FINISHED)


@dataclass(slots=True)
class Member:
    """A worker, of which `incarnation` is the one that counts."""

    presence: Presence = Presence.AWAITED
    incarnation: int = 0
    has_failed: bool = False
    is_new: bool = False
    meets_at_init: bool = True
    info: Mapping[str, Any] = field(default_factory=dict)
    answers: dict[int, Mapping[str, Any]] = field(default_factory=dict)


class Members:
    """All workers that there ever were, by worker id.

    Parameters
    ----------
    number_of_workers : int

    Attributes
    ----------
    number_of_workers : int
        How many there are now; those from there on have left, or are about to.
    faults : int
        How many workers have failed that had run.
    last_fault : str
        The last of these, in words.
    """

    def __init__(self, number_of_workers: int) -> None:
        self._all = [Member() for _ in range(number_of_workers)]
        self._present = Counter({Presence.AWAITED: number_of_workers})
        self.number_of_workers = number_of_workers
        self.faults = 0
        self.last_fault = ""

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, worker_id: int) -> Member:
        return self._all[worker_id]

    @property
    def now(self) -> list[Member]:
        """The workers that there are now."""
        return self._all[: self.number_of_workers]

    def count(self, *presences: Presence) -> int:
        """Return how many of the workers that there are now are so."""
        return sum(self._present[presence] for presence in presences)

    def status(self) -> dict[str, Any]:
        """Return what workers need to know that find each other without a job master: failures, and who never comes."""
        return {
            "faults": self.faults,
            "last_fault": self.last_fault,
            "restarts": {
                str(number): one.incarnation for number, one in enumerate(self._all) if one.incarnation
            },
            "failed": [number for number, one in enumerate(self._all) if one.presence is Presence.FAILED],
            "broken": self.broken(),
        }

    def living(self) -> list[int]:
        """Return the ids of those that have not ended."""
        ended = (Presence.FINISHED, Presence.FAILED)
        return [number for number, member in enumerate(self.now) if member.presence not in ended]

    # Changes.

    def set_presence(self, worker_id: int, presence: Presence) -> None:
        """Note how one of those that there are now is."""
        member = self._all[worker_id]
        self._present[member.presence] -= 1
        self._present[presence] += 1
        member.presence = presence

    def leave(self, number_of_workers: int) -> None:
        """Note that there are fewer workers: of a higher id than that none counts any more."""
        for member in self._all[number_of_workers : self.number_of_workers]:
            self._present[member.presence] -= 1
        self.number_of_workers = number_of_workers

    def come(self, number_of_workers: int, incarnations: Mapping[int, int]) -> None:
        """Note that there are more workers, of which nothing is known yet.

        Parameters
        ----------
        number_of_workers : int
        incarnations : mapping
            Of workers that come again after they had left: the incarnation that counts from now on.
        """
        for worker_id in range(self.number_of_workers, number_of_workers):
            if worker_id == len(self._all):
                self._all.append(Member(is_new=True, meets_at_init=False))
            else:  # it is another one of that id, whatever becomes of the last
                self._all[worker_id] = Member(
                    incarnation=incarnations.get(worker_id, 0), is_new=True, meets_at_init=False
                )
            self._present[Presence.AWAITED] += 1
        self.number_of_workers = number_of_workers

    def fault(self, worker_id: int, is_final: bool) -> None:
        """Note that a worker has failed that had run.

        Parameters
        ----------
        worker_id : int
        is_final : bool
            Whether it is not started again.
        """
        self.faults += 1
        outlook = "for good" if is_final else "and is started again"
        self.last_fault = f"worker {worker_id} failed {outlook}"
        self._all[worker_id].has_failed, self._all[worker_id].is_new = True, False
        for member in self._all:
            member.meets_at_init = True  # all begin anew together, those that came later as well

    # Answers that a repeated request is given again.

    def keep_answer(self, worker_id: int, request: int, record: Mapping[str, Any]) -> PutAnswer:
        """Keep an answer, and return what has the store keep it.

        Parameters
        ----------
        worker_id, request : int
        record : mapping
        """
        member = self._all[worker_id]
        member.answers[request] = record
        return PutAnswer(worker_id, member.incarnation, request, record)

    def drop_answers(self, worker_id: int, below: int | None = None) -> list[DropAnswers]:
        """Forget the answers to requests below a number, or all; return what has the store do so.

        Parameters
        ----------
        worker_id : int
        below : int or None
        """
        answers = self._all[worker_id].answers
        done = [number for number in answers if below is None or number < below]
        for number in done:
            del answers[number]
        return [DropAnswers(worker_id, below)] if done else []

    # In words.

    def named(self, workers: list[int]) -> str:
        """Return some workers in words: who they are, and how each is."""
        named = [f"worker {number} ({self._all[number].presence.value})" for number in workers[:_NAMED]]
        more = len(workers) - len(named)
        return ", ".join(named) + (f" and {more} more" if more > 0 else "")

    def broken(self) -> tuple[BarrierResult, str] | None:
        """Return why no barrier can be passed any more, if so: one who has ended never comes."""
        for presence, result in (
            (Presence.FAILED, BarrierResult.JOB_FAULTY),
            (Presence.FINISHED, BarrierResult.TIMED_OUT),
        ):
            if self._present[presence]:
                ended = [number for number, one in enumerate(self.now) if one.presence is presence]
                return result, f"{self.named(ended)}, and will never come"
        return None
