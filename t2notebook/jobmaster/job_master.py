"""The job master of one job as a pure state machine: what becomes of workers, and what they ask, in; actions out.

Requests of workers are numbered. A worker whose connection broke, or whose job master has been replaced, repeats those
that were not answered: arrivals, addresses and deadlines need not be kept for that. Kept are barriers that have begun,
answers that could be asked for again, and messages (`actions`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..model.wording import its_workers
from .actions import (
    DRIVER,
    Action,
    Answer,
    Barrier,
    BarrierResult,
    DropJob,
    PutAnswer,
    Scale,
    Stop,
)
from .barriers import Barriers
from .debugger import Debugger
from .happenings import Happenings
from .joining import Joining
from .mailboxes import Mailboxes
from .members import Members, Presence

#: How many ids of the driver's sends are remembered.
_DRIVER_SENDS = 1000


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
    members : Members
    mailboxes : Mailboxes
    happenings : Happenings
    debugger : Debugger
    """

    def __init__(self, number_of_workers: int) -> None:
        self.members = Members(number_of_workers)
        self.mailboxes = Mailboxes()
        self.happenings = Happenings()
        self.debugger = Debugger()
        self._barriers = Barriers(self.members)
        self._joining = Joining(self.members)
        self._sends: dict[str, Mapping[str, Any]] = {}

    @property
    def number_of_workers(self) -> int:
        """The number of workers that there are now."""
        return self.members.number_of_workers

    @property
    def faults(self) -> int:
        """The number of failures of workers that had run. A worker says at a barrier of how many it knows."""
        return self.members.faults

    def restore(self, kept: Kept, now: float) -> None:
        """Go on with what an earlier job master left behind.

        Parameters
        ----------
        kept : Kept
        now : float
            Seconds of a clock that no adjustment moves, as everywhere here.
        """
        self.mailboxes = Mailboxes(kept.messages, dict(kept.last))
        self._barriers.restore(kept.barriers, now)
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
            self._joining.changed()
        member.info = info
        if is_new:
            member.incarnation = incarnation
            actions += self._begin_anew(worker_id)
        elif before is presence:
            return []
        self.members.set_presence(worker_id, presence)
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
        return self.members.status()

    def scale(self, number_of_workers: int, incarnations: Mapping[int, int]) -> list[Action]:
        """Note that there are more workers now, or fewer: barriers and `all` are for those that there are.

        Parameters
        ----------
        number_of_workers : int
        incarnations : mapping
            Of workers that come again after they had left: the incarnation that counts from now on.
        """
        before = self.number_of_workers
        self._joining.changed()
        actions: list[Action] = []
        if number_of_workers < before:
            self.members.leave(number_of_workers)
        for worker_id in range(number_of_workers, before):
            was_waiting = self._joining.withdraw(worker_id)
            was_waiting |= self._barriers.withdraw(worker_id)
            actions += self.mailboxes.discard(worker_id)
            if was_waiting:
                actions.append(Stop(worker_id, self.has_left()))
        if number_of_workers > before:
            for worker_id in range(before, min(number_of_workers, len(self.members))):
                actions += self._begin_anew(worker_id)
            self.members.come(number_of_workers, incarnations)
            self._joining.had_all = False
        actions += self._happened("scaled_up" if number_of_workers > before else "scaled_down")
        actions += self._barriers.pass_complete()
        return actions + self._answer_all() + self._give_up_waits()

    def has_left(self) -> str:
        """Return why a worker is to stop that is one too many."""
        return f"the job was scaled down to {self.number_of_workers} workers"

    def end(self) -> list[Action]:
        """The job has ended."""
        self._barriers.clear()
        self._joining.clear()
        self.mailboxes.clear()
        return [DropJob()]

    def _begin_anew(self, worker_id: int) -> list[Action]:
        """Forget what an older incarnation asked."""
        self._joining.withdraw(worker_id)
        self.mailboxes.forget(worker_id)
        self.happenings.forget(worker_id)
        self._barriers.withdraw(worker_id)
        return [*self.members.drop_answers(worker_id)]

    def _fault(self, worker_id: int, is_final: bool) -> list[Action]:
        self.members.fault(worker_id, is_final)
        return self._happened("failed", worker_id) + self._barriers.fault()

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
        actions: list[Action] = [*self.members.drop_answers(worker_id, _whole(record.get("low")))]
        if request in member.answers:
            return [*actions, Answer(worker_id, request, member.answers[request])]
        kind = record.get("kind")
        if worker_id >= self.number_of_workers and kind in ("barrier", "all"):
            return [*actions, Stop(worker_id, self.has_left())]
        if kind == "barrier":
            name = Barrier.INIT if record.get("barrier") == Barrier.INIT else Barrier.DEFAULT
            faults, timeout = _whole(record.get("faults")), _seconds(record.get("timeout"))
            return actions + self._barriers.arrive(worker_id, request, name, faults, timeout, now)
        if kind == "hello":
            return [*actions, Answer(worker_id, request, {"number_of_workers": self.number_of_workers})]
        if kind == "joined":
            return [*actions, self._joining.ask(worker_id, request)]
        if kind == "scale":
            by = _whole(record.get("by"))
            leave_time = _seconds(record.get("leave_time"))
            return [*actions, Scale(worker_id, member.incarnation, request, by, leave_time)]
        if kind == "happenings":
            after = _whole(record.get("after"))
            if after < 0:  # it begins to listen: what came before is over, but for what still holds
                kinds = ["all_joined"] if self._joining.had_all else []
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
            self._joining.wait(worker_id, request, deadline)
            actions += self._answer_all() + self._give_up_waits()
            return actions + (self.tick(now) if deadline <= now else [])
        if kind == "send":
            answer, posted = self._post(worker_id, record.get("to"), payload)
            kept = self.members.keep_answer(worker_id, request, answer)
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
        self._joining.withdraw(worker_id)
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
        if incarnation != self.members[worker_id].incarnation:
            return []
        kept = self.members.keep_answer(worker_id, request, answer)
        return [kept, Answer(worker_id, request, answer)]

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
        answer, posted = self._post(
            DRIVER, self.members.living() if receivers is None else receivers, payload
        )
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
                why = f"the job has {its_workers(self.number_of_workers)}, not {receiver}"
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

    # Time.

    @property
    def next_deadline(self) -> float | None:
        """The time by which `tick` is to be called; None: not at all."""
        deadline = min(self.mailboxes.next_deadline, self.debugger.next_deadline)
        if self.debugger.is_holding:  # all other clocks stand still
            return None if deadline == math.inf else deadline
        deadline = min(deadline, self._joining.next_deadline, self._barriers.next_deadline)
        return None if deadline == math.inf else deadline

    def tick(self, now: float) -> list[Action]:
        """Answer those whose time is over."""
        actions: list[Action] = self.debugger.tick(now)
        if self.debugger.is_holding:
            return actions + self.mailboxes.tick(now)
        return [*actions, *self._barriers.tick(now), *self._joining.tick(now), *self.mailboxes.tick(now)]

    def leave_debugger(self, worker_id: int, now: float) -> list[Action]:
        """A worker has ended, or begins anew: it waits in no debugger."""
        actions, stood = self.debugger.drop(worker_id, now)
        self._put_off(stood)
        return actions

    def _put_off(self, seconds: float) -> None:
        """Have all that workers wait for take so much longer."""
        self._barriers.put_off(seconds)
        self._joining.put_off(seconds)

    # Who is told.

    def _answer_all(self) -> list[Action]:
        had_all = self._joining.had_all
        answers = self._joining.answer()
        if self._joining.had_all and not had_all:
            answers += self._happened("all_joined")
        return answers

    def _happened(self, kind: str, worker_id: int = -1) -> list[Action]:
        count = self.members[worker_id].incarnation if worker_id >= 0 else 0
        return self.happenings.add(kind, worker_id, self.number_of_workers, count)

    def _give_up_waits(self) -> list[Action]:
        """Answer those who wait for somebody that will never come."""
        if not (self._barriers or self._joining) or (broken := self.members.broken()) is None:
            return []
        actions = self._barriers.give_up(*broken)
        if broken[0] is BarrierResult.JOB_FAULTY:  # who has finished has joined
            actions += self._joining.give_up(broken[1])
        return actions


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _seconds(value: Any) -> float:
    """Return a worker's time-out; a year for none."""
    limit = 365.0 * 86400.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return limit
    return min(max(0.0, float(value)), limit)
