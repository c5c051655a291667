"""One turn of a scheduler: the time at which an input is handled, and the actions that are decided on. Pure."""

from __future__ import annotations

from collections.abc import Callable

from ..model.events import Event
from ..model.job_table import JobTable
from .actions import Action, Record, SetTimer


class Turn:
    """The present turn, which all parts of a scheduler share.

    Parameters
    ----------
    jobs : JobTable

    Attributes
    ----------
    now : float
        Seconds that no adjustment of the clock moves.
    today : float
        Seconds since 1970: what is shown and kept.
    connected : bool
        Whether the framework is subscribed.
    framework_id : str
        Empty before it has been.
    trouble : str
        Why there is no master; empty if there is one.
    """

    def __init__(self, jobs: JobTable) -> None:
        self.jobs = jobs
        self.now = self.today = 0.0
        self.connected = False
        self.framework_id = ""
        self.trouble = "not connected to a master yet"
        self._actions: list[Action] = []

    def begin(self, now: float, today: float) -> None:
        """Begin a turn."""
        self.now, self.today = now, today

    def end(self) -> list[Action]:
        """Return what was decided on in this turn, in order."""
        actions, self._actions = self._actions, []
        return actions

    def do(self, action: Action) -> None:
        """Decide on an action."""
        self._actions.append(action)

    def record(self, *events: Event) -> None:
        """Have events written down; the views of their jobs tell of them from now on."""
        self.do(Record(*self.jobs.fold(*events)))


class Timers:
    """Timers by name, each with what is to be done when it is due.

    Parameters
    ----------
    turn : Turn
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._due: dict[str, float] = {}
        self._callbacks: dict[str, Callable[[], None]] = {}

    def later(self, name: str, delay: float, callback: Callable[[], None], sooner: bool = False) -> None:
        """Call once, `delay` seconds from now; a timer of the same name that is set already stays.

        Parameters
        ----------
        name : str
        delay : float
            Seconds.
        callback : callable
        sooner : bool
            Move a timer that is set already, if this is due before it.
        """
        due = self._turn.now + delay
        known = self._due.get(name)
        if known is not None and (not sooner or known <= due):
            return
        self._due[name], self._callbacks[name] = due, callback
        self._turn.do(SetTimer(name, due))

    def fired(self, name: str) -> None:
        """Do what a timer was set for."""
        if self._due.pop(name, None) is not None:
            self._callbacks.pop(name)()
