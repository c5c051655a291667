"""The life of one task in an executor, as a pure state machine: triggers in, actions out, one table."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """The phase of a task."""

    NEW = "new"  # a LAUNCH has been read
    FETCHING = "fetching"  # its job package is on its way
    FORKING = "forking"  # the package is here, the process is made with those of others
    RUNNING = "running"  # it has a process
    KILLING = "killing"  # its process has been told to end
    LIMITED = "limited"  # its process has been killed since it took too much memory
    ENDED = "ended"  # its last status has been given out


class Trigger(Enum):
    """An event of a task."""

    LAUNCH = "launch"  # it can be run here
    REFUSE = "refuse"  # it cannot be run: wrong Python, no package, no process
    SLOW = "slow"  # the package takes long
    PACKAGE = "package"  # the package is here and sound
    FORKED = "forked"  # its process exists
    EXIT = "exit"  # its process has ended
    KILL = "kill"  # the framework, or the end of the executor, wants it ended
    OVER_MEMORY = "over memory"  # it uses more than it asked for
    GRACE_OVER = "grace over"  # it had its time to end


class Action(Enum):
    """A side effect of a transition; performed in this order."""

    FETCH = "fetch"  # get the package, or wait with others for it
    FORK = "fork"
    SEND_STARTING = "send STARTING"
    SEND_RUNNING = "send RUNNING"
    SEND_KILLING = "send KILLING"
    SEND_FAILED = "send FAILED"  # with the refusal's message
    SEND_EXIT_STATUS = "send exit status"  # FINISHED or FAILED, by how the process ended
    SEND_KILLED = "send KILLED"
    SEND_LIMITED = "send limited"  # FAILED, with the reason that Mesos gives for memory
    TERMINATE = "terminate"  # SIGTERM to the process group
    START_GRACE = "start grace"  # GRACE_OVER is to come after the grace period
    STOP_GRACE = "stop grace"
    DESTROY = "destroy"  # SIGKILL to the process group
    RELEASE = "release"  # nothing of the task is needed any more, its package neither


_A, _P, _T = Action, Phase, Trigger

#: What follows what. A pair that is not here is ignored: it comes of two events crossing on their way.
TABLE: dict[tuple[Phase, Trigger], tuple[Phase, tuple[Action, ...]]] = {
    (_P.NEW, _T.LAUNCH): (_P.FETCHING, (_A.FETCH,)),
    (_P.NEW, _T.REFUSE): (_P.ENDED, (_A.SEND_FAILED, _A.RELEASE)),
    (_P.FETCHING, _T.SLOW): (_P.FETCHING, (_A.SEND_STARTING,)),
    (_P.FETCHING, _T.PACKAGE): (_P.FORKING, (_A.FORK,)),
    (_P.FETCHING, _T.REFUSE): (_P.ENDED, (_A.SEND_FAILED, _A.RELEASE)),
    (_P.FETCHING, _T.KILL): (_P.ENDED, (_A.SEND_KILLED, _A.RELEASE)),
    (_P.FORKING, _T.KILL): (_P.ENDED, (_A.SEND_KILLED, _A.RELEASE)),
    (_P.FORKING, _T.FORKED): (_P.RUNNING, (_A.SEND_RUNNING,)),
    (_P.FORKING, _T.REFUSE): (_P.ENDED, (_A.SEND_FAILED, _A.RELEASE)),
    (_P.RUNNING, _T.EXIT): (_P.ENDED, (_A.SEND_EXIT_STATUS, _A.RELEASE)),
    (_P.RUNNING, _T.KILL): (_P.KILLING, (_A.SEND_KILLING, _A.TERMINATE, _A.START_GRACE)),
    (_P.RUNNING, _T.OVER_MEMORY): (_P.LIMITED, (_A.DESTROY,)),
    (_P.LIMITED, _T.EXIT): (_P.ENDED, (_A.SEND_LIMITED, _A.RELEASE)),
    (_P.KILLING, _T.OVER_MEMORY): (_P.KILLING, (_A.DESTROY,)),
    # A second KILL may bring a shorter grace period.
    (_P.KILLING, _T.KILL): (_P.KILLING, (_A.START_GRACE,)),
    (_P.KILLING, _T.GRACE_OVER): (_P.KILLING, (_A.DESTROY,)),
    (_P.KILLING, _T.EXIT): (_P.ENDED, (_A.STOP_GRACE, _A.SEND_KILLED, _A.RELEASE)),
}


class Lifecycle:
    """One task's phase.

    Attributes
    ----------
    phase : Phase
    """

    def __init__(self) -> None:
        self.phase = Phase.NEW

    def apply(self, trigger: Trigger) -> tuple[Action, ...]:
        """Move on, and return what is to be done; nothing for a trigger that does not concern the phase."""
        self.phase, actions = TABLE.get((self.phase, trigger), (self.phase, ()))
        return actions
