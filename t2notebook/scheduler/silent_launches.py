"""Workers that were launched and of which nothing is heard: since when, and whether their agents can reach us. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..jobmaster.contacts import Contacts, canonical
from .placement.vetoes import Veto, lasting, listed

#: Seconds after a launch at which its silence is told, each time with how long it has lasted.
TOLD_AFTER = (8.0, 20.0, 60.0, 120.0, 300.0, 600.0)
#: A sentence names so many agents at the most.
SHOWN = 3


@dataclass(frozen=True)
class _Launched:
    job_id: str
    agent: str
    host: str
    time: float
    image: str = ""


class Silence:
    """The tasks that are STAGING or STARTING.

    Parameters
    ----------
    url : str
        Where workers reach their session.
    contacts : Contacts
        Addresses from which it has been reached.
    """

    def __init__(self, url: str = "", contacts: Contacts | None = None) -> None:
        self._url = url
        self._contacts = contacts
        self._addresses: dict[str, str] = {}
        self._known: set[str] = set()
        self._tasks: dict[str, _Launched] = {}
        self._times: dict[float, int] = {}  # how many of them were launched at a time

    def agent_at(self, agent: str, address: str) -> None:
        """Learn an agent's address from its offer."""
        self._addresses[agent] = address
        self._known.add(canonical(address))

    def launched(self, task_id: str, job_id: str, agent: str, host: str, now: float, image: str = "") -> None:
        """Note a task that is on its way; its time counts from the first call.

        Parameters
        ----------
        task_id, job_id, agent, host : str
        now : float
            Seconds.
        image : str
            The image that it runs in, which its agent may have to pull.
        """
        if task_id not in self._tasks:
            self._tasks[task_id] = _Launched(job_id, agent, host, now, image)
            self._times[now] = self._times.get(now, 0) + 1

    def over(self, task_id: str) -> None:
        """Note that a task runs, or has ended."""
        if (launched := self._tasks.pop(task_id, None)) is not None:
            self._times[launched.time] -= 1
            if not self._times[launched.time]:
                del self._times[launched.time]

    def __len__(self) -> int:
        return len(self._tasks)

    def next_due(self, now: float) -> float | None:
        """Return when there is more to say; None if there never will be."""
        times = []
        for time in self._times:  # fewer than tasks: a round of offers launches many at once
            times += [time + after for after in TOLD_AFTER if time + after > now][:1]
            if time + TOLD_AFTER[0] > now:
                break  # the others came later
        return min(times, default=None)

    def _silent(self, now: float) -> Iterator[_Launched]:
        """Yield the tasks of which it is told; they are in the order of their launches."""
        for launched in self._tasks.values():
            if launched.time + TOLD_AFTER[0] > now:
                return
            yield launched

    def sentences(self, now: float) -> Iterator[tuple[str, str]]:
        """Yield ``(job_id, sentence)`` for the jobs of which workers have been silent for long."""
        jobs: dict[str, dict[str, list[_Launched]]] = {}
        for launched in self._silent(now):
            jobs.setdefault(launched.job_id, {}).setdefault(launched.agent, []).append(launched)
        for job_id, agents in jobs.items():
            yield job_id, "; ".join(dict.fromkeys(self._texts(agents, now)))

    def vetoes(self, job_id: str, now: float) -> list[Veto]:
        """Return the same as rows of ``job.why``, one for each agent."""
        agents: dict[str, list[_Launched]] = {}
        for launched in self._silent(now):
            if launched.job_id == job_id:
                agents.setdefault(launched.agent, []).append(launched)
        return [
            Veto(
                job_id,
                "contact" if self._is_cut_off(agent) else "start",
                "; ".join(self._texts({agent: some}, now)),
                agent=agent,
                host=some[0].host,
            )
            for agent, some in agents.items()
        ]

    def advice(self, agent: str, host: str) -> str:
        """Return what a launch that came to nothing may have died of; empty if its agent can reach us."""
        if not self._is_cut_off(agent):
            return ""
        return f"nothing of agent {host} has ever reached this session at {self._url}; {_CAN_THEY}"

    def _is_cut_off(self, agent: str) -> bool:
        if self._contacts is None:
            return False
        address = self._addresses.get(agent, "")
        return not self._contacts.has_reached(address, self._known)

    def _texts(self, agents: Mapping[str, list[_Launched]], now: float) -> Iterator[str]:
        cut_off = {agent: some for agent, some in agents.items() if self._is_cut_off(agent)}
        if cut_off:
            yield (
                f"{_were_given(cut_off, now)}, and nothing of {'it' if len(cut_off) == 1 else 'them'} has reached "
                f"this session at {self._url}; {_CAN_THEY}"
            )
        fetching: dict[str, list[_Launched]] = {}
        slow: dict[str, list[_Launched]] = {}
        for agent, some in agents.items():
            if agent not in cut_off:
                (fetching if self._seconds_of_fetch(agent) else slow)[agent] = some
        if fetching:
            seconds = max(self._seconds_of_fetch(agent) for agent in fetching)
            hosts = listed(sorted({some[0].host for some in fetching.values()}), SHOWN)
            verb = "has" if len(fetching) == 1 else "have"
            yield f"{hosts} {verb} been fetching the executor from this session for {lasting(seconds)}"
        if slow:
            verb = "has" if len(slow) == 1 else "have"
            them = "it" if sum(map(len, slow.values())) == 1 else "them"
            images = sorted({launched.image for some in slow.values() for launched in some if launched.image})
            pulling = f"; the image {listed(images, SHOWN)} may be on its way there" if images else ""
            yield f"{_were_given(slow, now)} and {verb} not started {them} yet{pulling}"

    def _seconds_of_fetch(self, agent: str) -> float:
        if self._contacts is None:
            return 0.0
        return self._contacts.fetching_for(self._addresses.get(agent, "")) or 0.0


_CAN_THEY = "can agents connect to it? t2.configure(advertise_host=..., port=...) says where they can"


def _told(seconds: float) -> float:
    """Return the last of the times at which a silence of so many seconds is told; 0 before the first."""
    return max((after for after in TOLD_AFTER if after <= seconds), default=0.0)


def _were_given(agents: Mapping[str, list[_Launched]], now: float) -> str:
    count = sum(map(len, agents.values()))
    longest = max(_told(now - launched.time) for some in agents.values() for launched in some)
    hosts = listed(sorted({some[0].host for some in agents.values()}), SHOWN)
    who = f"agent {hosts} was" if len(agents) == 1 else f"agents {hosts} were"
    return f"{who} given {count} worker{'s' * (count != 1)} {lasting(longest)} ago"
