"""Mailboxes: messages to each worker, and to the driver, until their receiver has acknowledged them. Pure.

Numbers of a mailbox grow by one and are never given again, so a receiver can tell a repetition from a new message.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from .actions import DRIVER, Action, Answer, DropMessages, PutMessage

#: What a mailbox holds at the most: messages, and bytes.
MOST_MESSAGES, MOST_BYTES = 10_000, 256 << 20
#: Bytes that are given to a receiver at once, if there is more than one message.
BATCH = 1 << 20


@dataclass(slots=True)
class Mailbox:
    """The messages to one receiver that are not acknowledged, the oldest first."""

    last: int = 0
    letters: deque[tuple[int, int, bytes]] = field(default_factory=deque)  # number, sender, payload
    size: int = 0


@dataclass(slots=True)
class _Waiting:
    request: int | str
    deadline: float


class Mailboxes:
    """The mailboxes of one job.

    Parameters
    ----------
    kept : iterable of (receiver, number, sender, payload)
        What was not acknowledged when the last job master ended, in the order of the numbers.
    last : mapping
        The last number of each mailbox.
    """

    def __init__(
        self, kept: Iterable[tuple[int, int, int, bytes]] = (), last: dict[int, int] | None = None
    ) -> None:
        self._boxes: dict[int, Mailbox] = {
            receiver: Mailbox(number) for receiver, number in (last or {}).items()
        }
        self._waiting: dict[int, _Waiting] = {}
        #: When somebody who waits may have to be told that there is nothing; not later than that.
        self.next_deadline = math.inf
        for receiver, number, sender, payload in kept:
            self._put(receiver, number, sender, payload)

    def __bool__(self) -> bool:
        return any(box.letters for box in self._boxes.values())

    def last(self, receiver: int) -> int:
        """Return the number of the last message to a receiver; 0 if there was none."""
        box = self._boxes.get(receiver)
        return 0 if box is None else box.last

    def unread(self, receiver: int) -> int:
        """Return how many messages a receiver has not acknowledged."""
        box = self._boxes.get(receiver)
        return len(box.letters) if box is not None else 0

    def refusal(self, receiver: int, size: int) -> str:
        """Return why a mailbox takes no more, empty if it does."""
        box = self._boxes.get(receiver)
        if box is None or (len(box.letters) < MOST_MESSAGES and box.size + size <= MOST_BYTES):
            return ""
        who = "the notebook" if receiver == DRIVER else f"worker {receiver}"
        return (
            f"{who} has not read {len(box.letters)} messages ({box.size >> 20} MiB), and no more are kept for it than "
            f"{MOST_MESSAGES}, or {MOST_BYTES >> 20} MiB"
        )

    def post(self, receiver: int, sender: int, payload: bytes) -> list[Action]:
        """Take a message in, and give it to a receiver that waits for one.

        Parameters
        ----------
        receiver, sender : int
        payload : bytes
        """
        box = self._boxes.setdefault(receiver, Mailbox())
        number = box.last + 1
        self._put(receiver, number, sender, payload)
        return [PutMessage(receiver, number, sender, payload), *self._deliver(receiver)]

    def receive(
        self, receiver: int, request: int | str, acknowledged: int, deadline: float, now: float
    ) -> list[Action]:
        """Give a receiver its next messages, as soon as there are any; none at the deadline.

        Parameters
        ----------
        acknowledged : int
            The number of the last one that it has.
        """
        actions = self.acknowledge(receiver, acknowledged)
        if (earlier := self._waiting.pop(receiver, None)) is not None and earlier.request != request:
            actions.append(Answer(receiver, earlier.request, {"letters": []}))
        self._waiting[receiver] = _Waiting(request, deadline)
        self.next_deadline = min(self.next_deadline, deadline)
        return actions + self._deliver(receiver, is_due=deadline <= now)

    def acknowledge(self, receiver: int, number: int) -> list[Action]:
        """Forget what its receiver has."""
        box = self._boxes.get(receiver)
        if box is None or not box.letters or box.letters[0][0] > number:
            return []
        while box.letters and box.letters[0][0] <= number:
            box.size -= len(box.letters.popleft()[2])
        return [DropMessages(receiver, min(number, box.last))]

    def forget(self, receiver: int) -> None:
        """A receiver waits no more: it has gone, or begun anew. Its messages stay."""
        self._waiting.pop(receiver, None)

    def discard(self, receiver: int) -> list[Action]:
        """Drop what a receiver that leaves has not read."""
        self._waiting.pop(receiver, None)
        box = self._boxes.get(receiver)
        return [] if box is None else self.acknowledge(receiver, box.last)

    def clear(self) -> None:
        """Drop all messages but the driver's."""
        for receiver in [receiver for receiver in self._boxes if receiver != DRIVER]:
            del self._boxes[receiver]

    def tick(self, now: float) -> list[Action]:
        """Answer those whose time is over."""
        due = [receiver for receiver, one in self._waiting.items() if one.deadline <= now]
        actions = [action for receiver in due for action in self._deliver(receiver, is_due=True)]
        self.next_deadline = min((one.deadline for one in self._waiting.values()), default=math.inf)
        return actions

    def _put(self, receiver: int, number: int, sender: int, payload: bytes) -> None:
        box = self._boxes.setdefault(receiver, Mailbox())
        box.last = max(box.last, number)
        box.letters.append((number, sender, payload))
        box.size += len(payload)

    def _deliver(self, receiver: int, is_due: bool = False) -> list[Action]:
        waiting, box = self._waiting.get(receiver), self._boxes.get(receiver)
        letters = box.letters if box is not None else ()
        if waiting is None or not (letters or is_due):
            return []
        del self._waiting[receiver]
        batch: list[tuple[int, int, bytes]] = []
        size = 0
        for letter in letters:
            size += len(letter[2])
            if batch and size > BATCH:
                break
            batch.append(letter)
        facts = [[number, sender, len(payload)] for number, sender, payload in batch]
        return [
            Answer(receiver, waiting.request, {"letters": facts}, b"".join(payload for *_, payload in batch))
        ]
