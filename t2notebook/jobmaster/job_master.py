"""The job master of one job as a pure state machine: what becomes of workers, and what they ask, in; actions out.

Requests of workers are numbered. A worker whose connection broke, or whose job master has been replaced, repeats those
that were not answered: arrivals, addresses and deadlines need not be kept for that. Kept are barriers that have begun,
answers that could be asked for again, and messages (`actions`).
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..model.text import dumps
from .actions import (
    DRIVER,
    Action,
    Answer,
    Barrier,
    BarrierResult,
    DropAnswers,
    DropBarrier,
    DropJob,
    PutAnswer,
    PutBarrier,
    Scale,
    Stop,
)
from .debugger import Debugger
from .happenings import Happenings
from .mailboxes import Mailboxes

#: Seconds that workers have to come back to a barrier after a job master has taken the last one's place.
RETURN_TIME = 10.0
#: How many ids of the driver's sends are remembered.
_DRIVER_SENDS = 1000
#: How many ids of workers an explanation names.
_NAMED = 10


class Presence(StrEnum):
    """A worker as the job master knows it."""

    AWAITED = "has not started"
    JOINED = "runs"
    FINISHED = "has finished"
    FAILED = "has failed for good"


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


@dataclass(slots=True)
class _OpenBarrier:
    deadline: float
    arrivals: dict[int, int] = field(default_factory=dict)  # worker -> request


@dataclass(frozen=True, slots=True)
class Kept:
    """Records of a job that a store has kept.

    Parameters
    ----------
    barriers : mapping
        Of those that had begun: how many workers each expected, the seconds that were left of its time, and how many
        faults there had been.
    answers : iterable of (sender, incarnation, request, record)
    messages : iterable of (receiver, number, sender, payload)
    last : mapping
        The last number of each mailbox.
    """

    barriers: Mapping[Barrier, tuple[int, float, int]] = field(default_factory=dict)
    answers: Iterable[tuple[int, int, int | str, Mapping[str, Any]]] = ()
    messages: Iterable[tuple[int, int, int, bytes]] = ()
    last: Mapping[int, int] = field(default_factory=dict)


class JobMaster:
    """The job master of one job: requests of its workers in, actions out.

    One that takes the place of another has to `observe` all earlier events first, and then to `restore` the kept
    records.

    Parameters
    ----------
    number_of_workers : int

    Attributes
    ----------
    members : list of Member
        All workers that there ever were; those from `number_of_workers` on have left, or are about to.
    number_of_workers : int
        How many there are now.
    faults : int
        How many workers have failed that had run. A worker says at a barrier of how many it knows.
    """

    def __init__(self, number_of_workers: int) -> None:
        self.members = [Member() for _ in range(number_of_workers)]
        self.number_of_workers = number_of_workers
        self.mailboxes = Mailboxes()
        self.happenings = Happenings()
        self.debugger = Debugger()
        self.faults = 0
        self._last_fault = ""
        self._present = Counter({Presence.AWAITED: number_of_workers})
        self._barriers: dict[Barrier, _OpenBarrier] = {}
        self._all: dict[int, tuple[int, float]] = {}  # worker -> request, deadline
        self._next_all = math.inf
        self._sends: dict[str, Mapping[str, Any]] = {}
        self._had_all = False
        self._told = b""

    def restore(self, kept: Kept, now: float) -> None:
        """Go on with what an earlier job master left behind.

        Parameters
        ----------
        kept : Kept
        now : float
            Seconds of a clock that no adjustment moves, as everywhere here.
        """
        self.mailboxes = Mailboxes(kept.messages, dict(kept.last))
        for barrier, (_, left, faults) in kept.barriers.items():
            if barrier is Barrier.INIT or faults == self.faults:
                self._barriers[barrier] = _OpenBarrier(now + max(RETURN_TIME, left))
        for sender, incarnation, request, record in kept.answers:
            if sender == DRIVER:
                self._sends[str(request)] = record
            elif sender < len(self.members) and incarnation == self.members[sender].incarnation:
                self.members[sender].answers[int(request)] = record

    # What becomes of workers.

    def observe(
        self, worker_id: int, incarnation: int, presence: Presence, info: Mapping[str, Any]
    ) -> list[Action]:
        """Note how a worker is now, and tell whom that concerns.

        Parameters
        ----------
        worker_id : int
        incarnation : int
            The one that counts; it never falls.
        presence : Presence
        info : mapping
            What others are told of it (`protocol.worker_info`).
        """
        member = self.members[worker_id]
        if incarnation < member.incarnation or worker_id >= self.number_of_workers:
            return []
        before, actions = member.presence, list[Action]()
        is_new = incarnation > member.incarnation
        if member.info != info or before is not presence:
            self._told = b""
        member.info = info
        if is_new:
            member.incarnation = incarnation
            actions += self._begin_anew(worker_id)
        elif before is presence:
            return []
        self._present[before] -= 1
        self._present[presence] += 1
        member.presence = presence
        failed = presence is Presence.FAILED and before is not Presence.FAILED
        if (is_new and before is Presence.JOINED) or failed:
            actions += self._fault(worker_id, is_final=failed)
        if presence is Presence.JOINED and (is_new or before is Presence.AWAITED):
            if member.has_failed:
                member.has_failed = False
                actions += self._happened("restarted", worker_id)
            actions += self._answer_all()
        elif presence is Presence.FINISHED:
            actions += self._answer_all()
        if presence in (Presence.FINISHED, Presence.FAILED):
            actions += self._give_up_waits()
        return actions

    def status(self) -> dict[str, Any]:
        """Return what workers need to know that find each other without a job master: failures, and who never comes."""
        return {
            "faults": self.faults,
            "last_fault": self._last_fault,
            "restarts": {
                str(number): one.incarnation for number, one in enumerate(self.members) if one.incarnation
            },
            "failed": [number for number, one in enumerate(self.members) if one.presence is Presence.FAILED],
            "broken": self._broken(),
        }

    def scale(self, number_of_workers: int, incarnations: Mapping[int, int]) -> list[Action]:
        """Note that there are more workers now, or fewer: barriers and `all` are for those that there are.

        Parameters
        ----------
        number_of_workers : int
        incarnations : mapping
            Of workers that come again after they had left: the incarnation that counts from now on.
        """
        before, self.number_of_workers = self.number_of_workers, number_of_workers
        self._told = b""
        actions: list[Action] = []
        for worker_id in range(number_of_workers, before):
            member = self.members[worker_id]
            self._present[member.presence] -= 1
            was_waiting = self._all.pop(worker_id, None) is not None
            for barrier in self._barriers.values():
                was_waiting |= barrier.arrivals.pop(worker_id, None) is not None
            actions += self.mailboxes.discard(worker_id)
            if was_waiting:
                actions.append(Stop(worker_id, self.has_left()))
        for worker_id in range(before, number_of_workers):
            if worker_id == len(self.members):
                self.members.append(Member(is_new=True, meets_at_init=False))
            else:  # it is another one of that id, whatever becomes of the last
                actions += self._begin_anew(worker_id)
                self.members[worker_id] = Member(
                    incarnation=incarnations.get(worker_id, 0), is_new=True, meets_at_init=False
                )
            self._present[Presence.AWAITED] += 1
            self._had_all = False
        actions += self._happened("scaled_up" if number_of_workers > before else "scaled_down")
        for name, barrier in list(self._barriers.items()):
            if barrier.arrivals and len(barrier.arrivals) >= self._expected(name):
                actions += self._decide(name, BarrierResult.SUCCESS, "")
        return actions + self._answer_all() + self._give_up_waits()

    def has_left(self) -> str:
        """Return why a worker is to stop that is one too many."""
        return f"the job was scaled down to {self.number_of_workers} workers"

    def end(self) -> list[Action]:
        """The job has ended."""
        self._barriers.clear()
        self._all.clear()
        self.mailboxes.clear()
        return [DropJob()]

    def _begin_anew(self, worker_id: int) -> list[Action]:
        """Forget what an older incarnation asked."""
        member = self.members[worker_id]
        self._all.pop(worker_id, None)
        self.mailboxes.forget(worker_id)
        self.happenings.forget(worker_id)
        for barrier in self._barriers.values():
            barrier.arrivals.pop(worker_id, None)
        if not member.answers:
            return []
        member.answers.clear()
        return [DropAnswers(worker_id)]

    def _fault(self, worker_id: int, is_final: bool) -> list[Action]:
        self.faults += 1
        outlook = "for good" if is_final else "and is started again"
        self._last_fault = f"worker {worker_id} failed {outlook}"
        self.members[worker_id].has_failed, self.members[worker_id].is_new = True, False
        for member in self.members:
            member.meets_at_init = True  # all begin anew together, those that came later as well
        actions = self._happened("failed", worker_id)
        if Barrier.DEFAULT in self._barriers:
            actions += self._decide(Barrier.DEFAULT, BarrierResult.JOB_FAULTY, self._last_fault)
        return actions

    # What workers ask.

    def request(
        self, worker_id: int, request: int, record: Mapping[str, Any], payload: bytes, now: float
    ) -> list[Action]:
        """Take a numbered request of a worker's present incarnation.

        Parameters
        ----------
        worker_id, request : int
        record : mapping
            ``kind`` says what is asked; ``low`` is the lowest number that may yet be repeated.
        payload : bytes
        """
        member = self.members[worker_id]
        actions: list[Action] = []
        low = _whole(record.get("low"))
        if done := [number for number in member.answers if number < low]:
            for number in done:
                del member.answers[number]
            actions.append(DropAnswers(worker_id, low))
        if request in member.answers:
            return [*actions, Answer(worker_id, request, member.answers[request])]
        kind = record.get("kind")
        if worker_id >= self.number_of_workers and kind in ("barrier", "all"):
            return [*actions, Stop(worker_id, self.has_left())]
        if kind == "barrier":
            return actions + self._arrive(worker_id, request, record, now)
        if kind == "hello":
            return [*actions, Answer(worker_id, request, {"number_of_workers": self.number_of_workers})]
        if kind == "joined":
            return [*actions, Answer(worker_id, request, self._workers(), self._joined())]
        if kind == "scale":
            by = _whole(record.get("by"))
            leave_time = _seconds(record.get("leave_time"))
            return [*actions, Scale(worker_id, member.incarnation, request, by, leave_time)]
        if kind == "happenings":
            after = _whole(record.get("after"))
            if after < 0:  # it begins to listen: what came before is over, but for what still holds
                kinds = ["all_joined"] if self._had_all else []
                kinds += ["scaled_down"] if worker_id >= self.number_of_workers else []
                return [*actions, Answer(worker_id, request, self.happenings.begin(*kinds))]
            return actions + self.happenings.ask(worker_id, request, after)
        if kind == "debug":
            return actions + self.debugger.ask(worker_id, request, record, now)
        if kind == "debug_end":
            ended, stood = self.debugger.end(worker_id, request, record, now)
            self._put_off(stood)
            return actions + ended
        if kind == "all":
            deadline = now + _seconds(record.get("timeout"))
            self._all[worker_id] = (request, deadline)
            self._next_all = min(self._next_all, deadline)
            actions += self._answer_all() + self._give_up_waits()
            return actions + (self.tick(now) if deadline <= now else [])
        if kind == "send":
            answer, posted = self._post(worker_id, record.get("to"), payload)
            member.answers[request] = answer
            kept = PutAnswer(worker_id, member.incarnation, request, answer)
            return [*actions, *posted, kept, Answer(worker_id, request, answer)]
        if kind == "receive":
            deadline = now + _seconds(record.get("timeout"))
            acknowledged = _whole(record.get("acknowledged"))
            return actions + self.mailboxes.receive(worker_id, request, acknowledged, deadline, now)
        if kind == "acknowledge":
            return actions + self.mailboxes.acknowledge(worker_id, _whole(record.get("acknowledged")))
        error = f"this job master does not know {kind!r}; it is of another version of t2notebook"
        return [*actions, Answer(worker_id, request, {"error": error})]

    def disconnected(self, worker_id: int) -> None:
        """The connection of a worker's present incarnation broke: answers reach it when it has asked again."""
        self._all.pop(worker_id, None)
        self.mailboxes.forget(worker_id)
        self.happenings.forget(worker_id)
        self.debugger.disconnected(worker_id)
        # Its arrivals stay: it will ask again what came of them, and is not gone.

    def scaling_answered(
        self, worker_id: int, incarnation: int, request: int, answer: Mapping[str, Any]
    ) -> list[Action]:
        """Tell a worker what came of its wish for more workers, or fewer.

        Parameters
        ----------
        worker_id, incarnation, request : int
        answer : mapping
        """
        member = self.members[worker_id]
        if incarnation != member.incarnation:
            return []
        member.answers[request] = answer
        return [PutAnswer(worker_id, incarnation, request, answer), Answer(worker_id, request, answer)]

    # What the driver asks.

    def driver_send(self, send_id: str, receivers: list[int] | None, payload: bytes) -> list[Action]:
        """Take a message of the driver's to some workers, or (None) to all that have not ended.

        Parameters
        ----------
        send_id : str
            The same for a repetition.
        """
        if send_id in self._sends:
            return [Answer(DRIVER, send_id, self._sends[send_id])]
        answer, posted = self._post(DRIVER, self._living() if receivers is None else receivers, payload)
        self._sends[send_id] = answer
        if len(self._sends) > _DRIVER_SENDS:
            del self._sends[next(iter(self._sends))]
        return [*posted, PutAnswer(DRIVER, 0, send_id, answer), Answer(DRIVER, send_id, answer)]

    def driver_receive(self, request: str, acknowledged: int, timeout: float, now: float) -> list[Action]:
        """Give the driver the messages after `acknowledged`, as soon as there are any; none after `timeout`.

        Parameters
        ----------
        request : str
        acknowledged : int
            The number of the last message that the driver has taken.
        timeout, now : float
            Seconds.
        """
        return self.mailboxes.receive(DRIVER, request, acknowledged, now + timeout, now)

    def _post(self, sender: int, to: Any, payload: bytes) -> tuple[Mapping[str, Any], list[Action]]:
        receivers = to if isinstance(to, list) else [to]
        for receiver in receivers:
            if receiver == DRIVER and sender != DRIVER:
                why = ""
            elif not isinstance(receiver, int) or not 0 <= receiver < self.number_of_workers:
                why = f"the job has workers 0 to {self.number_of_workers - 1}, not {receiver}"
            elif self.members[receiver].presence in (Presence.FINISHED, Presence.FAILED):
                why = f"worker {receiver} {self.members[receiver].presence.value}"
            else:
                why = ""
            if why := why or self.mailboxes.refusal(receiver, len(payload)):
                return {"error": f"the message was not sent: {why}"}, []
        posted: list[Action] = []
        for receiver in receivers:
            posted += self.mailboxes.post(receiver, sender, payload)
        return {"sent": len(receivers)}, posted

    def _living(self) -> list[int]:
        ended = (Presence.FINISHED, Presence.FAILED)
        return [number for number, member in enumerate(self._now()) if member.presence not in ended]

    def _now(self) -> list[Member]:
        return self.members[: self.number_of_workers]

    # Time.

    @property
    def next_deadline(self) -> float | None:
        """The time by which `tick` is to be called; None: not at all."""
        deadline = min(self.mailboxes.next_deadline, self.debugger.next_deadline)
        if self.debugger.is_holding:  # all other clocks stand still
            return None if deadline == math.inf else deadline
        deadline = min(deadline, self._next_all)
        for barrier in self._barriers.values():
            deadline = min(deadline, barrier.deadline)
        return None if deadline == math.inf else deadline

    def tick(self, now: float) -> list[Action]:
        """Answer those whose time is over."""
        actions: list[Action] = self.debugger.tick(now)
        if self.debugger.is_holding:
            return actions + self.mailboxes.tick(now)
        for name, barrier in list(self._barriers.items()):
            if barrier.deadline <= now:
                came = len(barrier.arrivals)
                missing = self._named(
                    [
                        number
                        for number, one in enumerate(self._now())
                        if number not in barrier.arrivals and (name is Barrier.DEFAULT or one.meets_at_init)
                    ]
                )
                why = f"{came} of {self._expected(name)} workers came in time; missing: {missing}"
                actions += self._decide(name, BarrierResult.TIMED_OUT, why)
        for worker_id, (request, deadline) in list(self._all.items()):
            if deadline <= now:
                del self._all[worker_id]
                awaited = [
                    number for number, one in enumerate(self._now()) if one.presence not in _HAS_JOINED
                ]
                there = self.number_of_workers - len(awaited)
                why = f"{there} of {self.number_of_workers} workers joined in time; missing: {self._named(awaited)}"
                actions.append(Answer(worker_id, request, {"timed_out": why}))
        self._next_all = min((deadline for _, deadline in self._all.values()), default=math.inf)
        return actions + self.mailboxes.tick(now)

    def leave_debugger(self, worker_id: int, now: float) -> list[Action]:
        """A worker has ended, or begins anew: it waits in no debugger."""
        actions, stood = self.debugger.drop(worker_id, now)
        self._put_off(stood)
        return actions

    def _put_off(self, seconds: float) -> None:
        """Have all that workers wait for take so much longer."""
        for barrier in self._barriers.values():
            barrier.deadline += seconds
        self._all = {who: (request, deadline + seconds) for who, (request, deadline) in self._all.items()}
        self._next_all += seconds

    # Joining.

    def _joined(self) -> bytes:
        """Return what is told of those who have joined: made once for all who ask, since all of many workers do."""
        if not self._told:
            infos = [member.info for member in self._now() if member.presence in _HAS_JOINED]
            self._told = zlib.compress(dumps(infos).encode(), 1)
        return self._told

    def _answer_all(self) -> list[Action]:
        if self._had_all and not self._all:
            return []
        if sum(self._present[presence] for presence in _HAS_JOINED) < self.number_of_workers:
            return []
        told = self._joined() if self._all else b""
        answers: list[Action] = [
            Answer(who, request, self._workers(), told) for who, (request, _) in self._all.items()
        ]
        self._all.clear()
        if not self._had_all:
            self._had_all = True
            answers += self._happened("all_joined")
        return answers

    def _workers(self) -> Mapping[str, Any]:
        return {"workers": True, "number_of_workers": self.number_of_workers}

    def _happened(self, kind: str, worker_id: int = -1) -> list[Action]:
        count = self.members[worker_id].incarnation if worker_id >= 0 else 0
        return self.happenings.add(kind, worker_id, self.number_of_workers, count)

    # Barriers.

    def _arrive(self, worker_id: int, request: int, record: Mapping[str, Any], now: float) -> list[Action]:
        name = Barrier.INIT if record.get("barrier") == Barrier.INIT else Barrier.DEFAULT
        if name is Barrier.DEFAULT and _whole(record.get("faults")) < self.faults:
            # Each hears once of what happened since it last was at a barrier; so nobody waits for one who began anew.
            return self._verdict({worker_id: request}, BarrierResult.JOB_FAULTY, self._last_fault)
        if (why := self._broken()) is not None:
            return self._verdict({worker_id: request}, *why)
        if name is Barrier.INIT and not self.members[worker_id].meets_at_init:
            # The others began together before it came, or wait for each other to.
            return self._verdict({worker_id: request}, BarrierResult.SUCCESS, "")
        timeout = _seconds(record.get("timeout"))
        actions: list[Action] = []
        barrier = self._barriers.get(name)
        if barrier is None:
            barrier = self._barriers[name] = _OpenBarrier(now + timeout)
            actions.append(PutBarrier(name, self._expected(name), timeout, self.faults))
        barrier.arrivals[worker_id] = request
        if len(barrier.arrivals) >= self._expected(name):
            actions += self._decide(name, BarrierResult.SUCCESS, "")
        return actions

    def _expected(self, name: Barrier) -> int:
        """Return how many workers a barrier waits for."""
        if name is Barrier.DEFAULT:
            return self.number_of_workers
        return sum(member.meets_at_init for member in self._now())

    def _decide(self, name: Barrier, result: BarrierResult, why: str) -> list[Action]:
        barrier = self._barriers.pop(name)
        return [DropBarrier(name), *self._verdict(barrier.arrivals, result, why)]

    def _verdict(self, arrivals: Mapping[int, int], result: BarrierResult, why: str) -> list[Action]:
        record = {
            "result": result.value,
            "why": why,
            "faults": self.faults,
            "number_of_workers": self.number_of_workers,
        }
        kept: list[Action] = []
        for worker_id, request in arrivals.items():
            member = self.members[worker_id]
            member.answers[request] = record
            kept.append(PutAnswer(worker_id, member.incarnation, request, record))
        return [*kept, *(Answer(worker_id, request, record) for worker_id, request in arrivals.items())]

    def _broken(self) -> tuple[BarrierResult, str] | None:
        """Return why no barrier can be passed any more, if so: one who has ended never comes."""
        for presence, result in (
            (Presence.FAILED, BarrierResult.JOB_FAULTY),
            (Presence.FINISHED, BarrierResult.TIMED_OUT),
        ):
            if self._present[presence]:
                ended = [number for number, one in enumerate(self._now()) if one.presence is presence]
                return result, f"{self._named(ended)}, and will never come"
        return None

    def _give_up_waits(self) -> list[Action]:
        """Answer those who wait for somebody that will never come."""
        if not (self._barriers or self._all) or (broken := self._broken()) is None:
            return []
        actions: list[Action] = []
        for name in list(self._barriers):
            actions += self._decide(name, *broken)
        if broken[0] is BarrierResult.JOB_FAULTY:  # who has finished has joined
            actions += [Answer(who, request, {"never": broken[1]}) for who, (request, _) in self._all.items()]
            self._all.clear()
        return actions

    def _named(self, workers: list[int]) -> str:
        named = [f"worker {number} ({self.members[number].presence.value})" for number in workers[:_NAMED]]
        more = len(workers) - len(named)
        return ", ".join(named) + (f" and {more} more" if more > 0 else "")


_HAS_JOINED = (Presence.JOINED, Presence.FINISHED)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _seconds(value: Any) -> float:
    """Return a worker's time-out; a year for none."""
    limit = 365.0 * 86400.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return limit
    return min(max(0.0, float(value)), limit)
