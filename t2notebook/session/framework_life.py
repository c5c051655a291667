"""The life of a framework: its states, and which may follow which."""

from __future__ import annotations

from enum import StrEnum


class Life(StrEnum):
    """A state of a framework of ours."""

    NEW = "new"  # its jobs are known, and there is no scheduler yet
    SUBSCRIBING = "subscribing"  # there is a scheduler; it has not been subscribed by this session yet
    ACTIVE = "active"  # this session has subscribed it; the stream may come and go
    CONCLUDING = "concluding"  # the master has ended it; results that are left in sandboxes are fetched
    REMOVED = "removed"  # the master has ended it, and the ends of its jobs are on record
    TORN_DOWN = "torn down"  # we have ended it, with all that it ran
    TAKEN_OVER = "taken over"  # it is somebody else's
    CLOSED = "closed"  # this session has nothing to do with it any more


#: What may follow.
TRANSITIONS: dict[Life, frozenset[Life]] = {
    Life.NEW: frozenset({Life.SUBSCRIBING, Life.TORN_DOWN, Life.TAKEN_OVER, Life.CLOSED}),
    Life.SUBSCRIBING: frozenset({Life.ACTIVE, Life.CONCLUDING, Life.TORN_DOWN, Life.TAKEN_OVER, Life.CLOSED}),
    Life.ACTIVE: frozenset({Life.CONCLUDING, Life.TORN_DOWN, Life.TAKEN_OVER, Life.CLOSED}),
    Life.CONCLUDING: frozenset({Life.REMOVED, Life.TORN_DOWN, Life.TAKEN_OVER, Life.CLOSED}),
    Life.REMOVED: frozenset({Life.CLOSED}),
    Life.TORN_DOWN: frozenset({Life.CLOSED}),
    Life.TAKEN_OVER: frozenset({Life.CLOSED}),
    Life.CLOSED: frozenset(),
}

#: In these it takes no more jobs, and nothing of it is killed or torn down any more.
OVER = frozenset({Life.REMOVED, Life.TORN_DOWN, Life.TAKEN_OVER, Life.CLOSED})


class FrameworkLife:
    """The phase of a framework's life.

    Attributes
    ----------
    state : Life
    why : str
        Why it is over; empty while it is not, and for one that was left to a later session.
    """

    def __init__(self) -> None:
        self.state = Life.NEW
        self.why = ""

    @property
    def is_over(self) -> bool:
        """Whether it takes no more jobs."""
        return self.state in OVER

    def may(self, state: Life) -> bool:
        """Whether a state may follow now."""
        return state in TRANSITIONS[self.state]

    def move(self, state: Life, why: str = "") -> None:
        """Enter a state.

        Parameters
        ----------
        state : Life
        why : str
            The reason, for a state in which it is over.

        Raises
        ------
        ValueError
            When the table forbids it.
        """
        if not self.may(state):
            raise ValueError(f"a framework that is {self.state.value} cannot become {state.value}")
        self.state = state
        self.why = self.why or why
