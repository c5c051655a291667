"""A pool: a job whose workers run calls of this kernel, kept a while for the next ones."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...model.errors import JobFailed, Twister2Error
from ...model.states import JobState, TaskState
from ...protocol import calls, outcomes
from ...protocol.frames import Bytes, Message
from ...protocol.outcomes import Outcome
from ..job import Job
from ..session_http import Connection
from .actions import Action, Call, Drop, EndWorker, GiveUp, Send
from .connection import PoolConnection
from .dispatcher import Dispatcher
from .functions import Function
from .futures import Future
from .numbering import Numbering
from .settling import outcome_of

#: Bytes of calls that go in one message.
PART = 4 << 20
#: Seconds that a pool without workers is given before it is said why, and that its workers have to end.
TELL_AFTER, END_PATIENCE = 5.0, 10.0


class PoolEnded(Twister2Error):
    """The pool takes no more calls; another one does."""


#: A function, its calls, and how often each may be tried again.
Left = tuple[Function, list[tuple[Future, calls.Pieces]], int]
#: A future, and its result or its error.
_Ended = tuple[Future, Any, BaseException | None]


@dataclass(slots=True)
class _Entry:
    future: Future
    pieces: calls.Pieces
    size: int
    function: int


@dataclass(slots=True)
class _Greeting:
    """The last greeting of a worker's, and the last result that came after it."""

    incarnation: int
    epoch: int
    heard: int = 0
    told: int = 0


class Pool:
    """The calls of a pool's job, from the kernel's side.

    Parameters
    ----------
    job : Job
        Its workers run `worker.process.pool.serve`.
    linger : float
        Seconds that it is kept when there are no calls.
    succeed : callable
        ``succeed(calls)`` takes the calls that are left when its workers have failed: lists of functions, of futures
        and arguments, and how often each may be tried again.
    """

    def __init__(self, job: Job, linger: float, succeed: Callable[[list[Left]], object]) -> None:
        self.job = job
        self._succeed = succeed
        self._cost_workers = self._is_killed = False
        self._linger = linger
        self._lock = threading.Lock()
        self._dispatcher = Dispatcher()
        self._entries: dict[int, _Entry] = {}
        self._last = 0
        self._functions = Numbering(self._dispatcher.know, self._dispatcher.forget)
        self._greetings: dict[int, _Greeting] = {}
        self._parts: dict[tuple[int, int], bytearray] = {}
        self._to_end: list[int] = []
        self._given_up: list[_Ended] = []
        self._changed = True
        self._idle_since = self._begun = time.monotonic()
        self._ending_since = math.nan
        self._ended = ""
        self._told = ""
        self._held: Mapping[int, str] = {}
        self._connection = PoolConnection(job.job_id, self._reach, self)
        job.add_listener(self._on_change)
        self._connection.start()

    def _reach(self) -> Connection:
        return self.job.reach()

    # What executors ask.

    @property
    def is_open(self) -> bool:
        """Whether it takes calls."""
        return not self._ended and not self._is_killed and math.isnan(self._ending_since)

    def room(self, held: int) -> int:
        """Return how many more calls are useful, when so many have not been taken by whoever asked for them."""
        with self._lock:
            limit = self._dispatcher.room + self._dispatcher.waiting
            return min(self._dispatcher.room, 2 * limit - held)

    def enqueue(self, function: Function, given: Sequence[tuple[Future, calls.Pieces]], retries: int) -> None:
        """Take calls of a function.

        Parameters
        ----------
        function : Function
        given : sequence of (Future, arguments)
        retries : int
            How often a call that raised is tried again.

        Raises
        ------
        PoolEnded
        """
        with self._lock:
            if not self.is_open:
                raise PoolEnded("the pool has ended")
            lent = self._dispatcher.lends
            try:
                failed = self._submit(function, given, retries)
            except BaseException:  # a person's interrupt, which may come anywhere
                self._connection.reset()
                raise
            wakes = self._dispatcher.lends and not lent
        if wakes:
            self._connection.wake()
        self._settle(failed)

    def _submit(
        self, function: Function, given: Sequence[tuple[Future, calls.Pieces]], retries: int
    ) -> list[_Ended]:
        number = self._functions.number_of(function)
        new = []
        for future, pieces in given:
            self._last += 1
            future.number = self._last
            size = calls.size(pieces)
            self._entries[self._last] = _Entry(future, pieces, size, number)
            self._functions.count(number, 1)
            new.append(Call(self._last, number, size, retries))
        return self._perform(self._dispatcher.enqueue(new, time.monotonic()))

    def cancel(self, future: Future) -> None:
        """Nobody wants a call any more."""
        with self._lock:
            self._forget(future.number)
            failed = self._perform(self._dispatcher.cancel(future.number, time.monotonic()))
        self._settle(failed)

    def is_running(self, future: Future) -> bool:
        """Whether a call has begun."""
        with self._lock:
            return self._dispatcher.is_running(future.number)

    @property
    def is_here(self) -> bool:
        """Whether this is the thread on which results come."""
        return self._connection.is_here

    def outlook(self) -> str:
        """Return in words what the pool's workers are doing."""
        with self._lock:
            workers, waiting = len(self._dispatcher.workers), self._dispatcher.waiting
        if workers:
            asked = self.job.spec.number_of_workers
            others = "call waits" if waiting == 1 else "calls wait"
            return f"{workers} of {asked} workers of pool {self.job.job_id} run, {waiting or 'no'} {others} for one"
        return f"no worker of pool {self.job.job_id} runs yet{self._why()}"

    def _why(self) -> str:
        view = self.job.view()
        why = view.waiting_for or view.message
        return f": {why}" if why else ""

    def end(self) -> int:
        """Let its workers end, and return how many calls had not ended: they are given up, with the workers."""
        with self._lock:
            unfinished = len(self._entries)
            if math.isnan(self._ending_since):
                self._begin_end()
            failed = self._perform(self._dispatcher.close("the pool was ended"))
        self._connection.wake()
        self._settle(failed)
        if unfinished:
            self._kill()
        return unfinished

    def join(self, timeout: float) -> None:
        """Wait for its end."""
        self._connection.join(timeout)

    def leave_to_parent(self) -> None:
        """Stop being a pool, in a process that was forked."""
        self._ended = "it is the pool of the process that this one was forked from"
        self._connection.leave_to_parent()

    # What its connection tells.

    def opened(self) -> None:
        """There is a connection: workers that are there will say so."""

    def broken(self) -> None:
        """There is none: what was on its way is lost."""
        with self._lock:
            for worker_id in self._dispatcher.workers:
                self._dispatcher.away(worker_id)
            self._parts.clear()
            self._greetings.clear()
            self._changed = True

    def received(self, messages: Sequence[Message]) -> None:
        """Take what workers have sent."""
        ended: list[tuple[Future, bool, Bytes]] = []
        now = time.monotonic()
        with self._lock, self._connection.corked():
            for message in messages:
                self._take(message, now, ended)
            settled, self._given_up = self._given_up, []
        for future, is_good, payload in ended:
            settled.append((future, *outcome_of(future, self.job.job_id, is_good, payload)))
        self._settle(settled)

    def due(self) -> float | None:
        """Do what is due."""
        now = time.monotonic()
        failed: list[_Ended] = []
        if self._changed:
            self._changed = False
            failed += self._look(now)
        with self._lock:
            if self._dispatcher.lends:
                failed += self._perform(self._dispatcher.tick(now))
            to_end, self._to_end = self._to_end, []
            wait = self._due(now)
        self._settle(failed)
        for worker_id in to_end:
            # On a thread of its own: a session that does not answer at once holds up nothing here.
            threading.Thread(
                target=self._end_worker, args=(worker_id,), name="t2-end-worker", daemon=True
            ).start()
        return wait

    def _due(self, now: float) -> float | None:
        """Return in how many seconds something is due; None: nothing ever. With the lock held."""
        if self._ended:
            return None
        if not math.isnan(self._ending_since):
            return 0.5
        if self._entries:
            self._idle_since = now
            self._tell(now)
            return calls.LEASE if self._dispatcher.lends else 1.0
        left = self._idle_since + self._linger - now
        if left <= 0:
            self._begin_end()
            return 0.5
        return left

    def _tell(self, now: float) -> None:
        """Say once why nothing runs, if nothing does."""
        if self._dispatcher.workers or now - self._begun < TELL_AFTER or self._told:
            return
        self._told = "told"
        print(f"t2notebook: no worker of pool {self.job.job_id} runs yet{self._why()}", file=sys.stderr)

    def _tell_of_held(self, held: Mapping[int, str]) -> None:
        """Say which workers have begun to wait in the debugger: whoever waits for their calls sees nothing else."""
        for worker_id in held.keys() - self._held.keys():
            print(
                f"t2notebook: worker {worker_id} of pool {self.job.job_id} waits in the debugger ({held[worker_id]}): "
                f"interrupt this, then %twister2 debug {self.job.job_id} {worker_id}",
                file=sys.stderr,
            )
        self._held = held

    def _begin_end(self) -> None:
        self._ending_since = time.monotonic()
        for worker_id, greeting in self._greetings.items():
            self._send(worker_id, greeting, {"kind": "end"})

    # What becomes of its job.

    def _on_change(self, job: Job) -> None:
        # Called with the job's lock held, on the thread that brings its events.
        self._changed = True
        self._connection.wake()

    def _look(self, now: float) -> list[_Ended]:
        view = self.job.view()
        is_over = view.state.is_final or not self.job.is_attached
        self._is_killed = bool(view.kill_reason)
        ending_since = self._ending_since
        if not math.isnan(ending_since) and not is_over:
            self._changed = True
            if now - ending_since > END_PATIENCE or any(
                not each.state.is_terminal and each.started is None for each in view.workers
            ):
                self._kill()
        self._tell_of_held({each.worker_id: each.held for each in view.workers if each.held})
        failed: list[_Ended] = []
        with self._lock:
            for worker_id, known in list(self._dispatcher.workers.items()):
                worker = view.workers[worker_id]
                if worker.state.is_terminal and worker.restarts == known.incarnation:
                    if worker.state is not TaskState.FINISHED:
                        why = worker.end_text
                        failed += self._lost(worker_id, known.incarnation, why, now, for_good=True)
                elif worker.restarts > known.incarnation:
                    why = (worker.message or worker.reason).partition("; restart ")[0] or "was started again"
                    failed += self._lost(worker_id, known.incarnation, f"worker {worker_id} {why}", now)
                elif worker.state is TaskState.UNREACHABLE and known.is_away:
                    # Mesos may know only much later whether it comes back.
                    why = f"worker {worker_id} on {worker.host} became unreachable"
                    failed += self._lost(worker_id, known.incarnation, why, now)
            if is_over:
                self._ended = self._ended or "its job has ended"
                if view.state is JobState.FAILED and self._cost_workers:
                    # The calls that cost the workers have been given up; the others are nothing to them.
                    self._pass_on()
                return failed + self._perform(self._dispatcher.close(_end_of(self.job)))
        return failed

    def _lost(
        self, worker_id: int, incarnation: int, why: str, now: float, *, for_good: bool = False
    ) -> list[_Ended]:
        self._greetings.pop(worker_id, None)
        self._forget_parts(worker_id)
        given_up = self._perform(self._dispatcher.lost(worker_id, incarnation, why, now, for_good=for_good))
        self._cost_workers = self._cost_workers or bool(given_up)
        return given_up

    def _forget_parts(self, worker_id: int) -> None:
        for key in [key for key in self._parts if key[0] == worker_id]:
            del self._parts[key]

    def _pass_on(self) -> None:
        """Give the calls that are left to another pool."""
        left: dict[tuple[int, int], list[tuple[Future, calls.Pieces]]] = {}
        for number in list(self._entries):
            call = self._dispatcher.calls[number]
            entry = self._forget(number)
            assert entry is not None
            left.setdefault((entry.function, call.retries), []).append((entry.future, entry.pieces))
        given = [(self._functions[number], each, retries) for (number, retries), each in left.items()]
        if given:
            threading.Thread(target=self._succeed, args=(given,), name="t2-next-pool", daemon=True).start()

    def _kill(self) -> None:
        try:
            self.job.kill(message="the pool is not needed any more")
        except Twister2Error:
            self._ended = "its session is gone"

    def _end_worker(self, worker_id: int) -> None:
        try:
            self.job.kill(worker_id, "its call was cancelled", restart=True)
        except Twister2Error:
            self._changed = True  # it is gone, or its session is

    # Inside, with the lock held.

    def _take(self, message: Message, now: float, ended: list[tuple[Future, bool, Bytes]]) -> None:
        """Take one message, and note the call that ended by it."""
        if message.head:
            self._done(outcomes.unpack(message.head), message.payload, now, ended)
            return
        record = message.record
        if (away := record.get("away")) is not None:
            self._dispatcher.away(away)
            self._greetings.pop(away, None)
            self._changed = True  # its agent may be lost, which is known already
            return
        worker_id, incarnation, epoch = record["from"], record["of"], record["epoch"]
        if "hello" in record:
            self._forget_parts(worker_id)  # a result of which some had come is sent again from its beginning
            self._greetings[worker_id] = _Greeting(incarnation, epoch)
            self._do(self._dispatcher.joined(worker_id, incarnation, record["holding"], now))
            if not math.isnan(self._ending_since):
                self._send(worker_id, self._greetings[worker_id], {"kind": "end"})
        elif "done" in record:
            number, seconds, is_good = record["n"], record["seconds"], record["ok"]
            outcome = Outcome(worker_id, incarnation, record["done"], number, epoch, seconds, is_good)
            self._done(outcome, message.payload, now, ended)
        elif self._greeting(worker_id, incarnation, epoch) is None:
            return
        elif "started" in record:
            self._do(self._dispatcher.started(worker_id, record["started"], now))
        elif "returned" in record:
            self._do(self._dispatcher.returned(worker_id, record["returned"], now))
        elif "part" in record:
            self._parts.setdefault((worker_id, record["part"]), bytearray()).extend(message.payload)

    def _greeting(self, worker_id: int, incarnation: int, epoch: int) -> _Greeting | None:
        """Return the greeting after which a worker has said something; None when it is not its last one."""
        greeting = self._greetings.get(worker_id)
        if greeting is None or greeting.incarnation != incarnation or greeting.epoch != epoch:
            return None
        return greeting

    def _done(
        self, outcome: Outcome, payload: Bytes, now: float, ended: list[tuple[Future, bool, Bytes]]
    ) -> None:
        worker_id, ticket = outcome.worker_id, outcome.ticket
        if (greeting := self._greeting(worker_id, outcome.incarnation, outcome.epoch)) is None:
            return
        if self._parts and (parts := self._parts.pop((worker_id, ticket), None)) is not None:
            payload = memoryview(parts)
        greeting.heard = outcome.number
        number, actions = self._dispatcher.finished(worker_id, ticket, outcome.seconds, outcome.is_good, now)
        if number is not None and (entry := self._forget(number)) is not None:
            entry.future.worker_id = worker_id
            ended.append((entry.future, outcome.is_good, payload))
        self._do(actions)
        if len(payload) >= calls.LARGE and greeting.told < greeting.heard:
            self._send(worker_id, greeting, {"kind": "ack"})  # it need not keep that

    def _forget(self, number: int) -> _Entry | None:
        entry = self._entries.pop(number, None)
        if entry is not None:
            self._functions.count(entry.function, -1)
        if not self._entries:
            self._idle_since = time.monotonic()
        return entry

    def _do(self, actions: Iterable[Action]) -> None:
        """Perform actions; whoever has the lock settles later what ended by them."""
        self._given_up += self._perform(actions)

    def _perform(self, actions: Iterable[Action]) -> list[_Ended]:
        """Perform actions; return the futures that have ended by them."""
        ended: list[_Ended] = []
        for action in actions:
            match action:
                case Send():
                    self._send_calls(action)
                case Drop(worker_id, ticket):
                    if (greeting := self._greetings.get(worker_id)) is not None:
                        self._send(worker_id, greeting, {"kind": "drop", "ticket": ticket})
                case EndWorker(worker_id):
                    self._to_end.append(worker_id)
                    self._connection.wake()
                case GiveUp(number, why):
                    if (entry := self._forget(number)) is not None:
                        text = f"{entry.future.what} was given up: {why}"
                        ended.append((entry.future, None, JobFailed(text, job_id=self.job.job_id)))
        return ended

    def _send_calls(self, action: Send) -> None:
        greeting = self._greetings.get(action.worker_id)
        if greeting is None:
            return  # it says anew what it has
        sizes, pieces = [], list[Bytes]()
        for number in action.functions:
            package = self._functions[number].package
            sizes.append([number, len(package)])
            pieces.append(package)
        tickets = []
        for ticket, number in action.calls:
            entry = self._entries[number]
            tickets.append([ticket, entry.function, entry.size])
            pieces += entry.pieces
        record: dict[str, Any] = {"kind": "calls", "calls": tickets}
        if action.after is not None:
            record["after"] = action.after
        if action.functions:
            record["functions"] = sizes
        if action.tells:
            record["tells"] = True
        if sum(each[2] for each in tickets) + sum(each[1] for each in sizes) > PART:
            for part in calls.parts(pieces, PART):
                self._send(action.worker_id, greeting, {"kind": "part"}, part)
            pieces = []
        self._send(action.worker_id, greeting, record, pieces)

    def _send(
        self, worker_id: int, greeting: _Greeting, record: Mapping[str, Any], pieces: Sequence[Bytes] = ()
    ) -> None:
        where = {"to": worker_id, "of": greeting.incarnation, "epoch": greeting.epoch}
        acknowledged = {"ack": greeting.heard} if greeting.told < greeting.heard else {}
        greeting.told = greeting.heard
        self._connection.send({**record, **where, **acknowledged}, pieces)

    def _settle(self, ended: Iterable[_Ended]) -> None:
        """Have futures end; without the lock, since their callbacks may do anything."""
        for future, value, error in ended:
            future.settle(value, error)


def _end_of(job: Job) -> str:
    """Return why a pool's job is over."""
    try:
        job.wait(0)
    except Twister2Error as error:
        return str(error)  # its session was lost
    failure = job.error()
    return failure.headline if failure is not None else f"the pool's job {job.job_id} has ended"
