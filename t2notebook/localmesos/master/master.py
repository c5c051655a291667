"""The master, without I/O: calls and agents' messages in, events and messages out.

Every method takes the time it happens at (`now`, seconds of any steady clock) and appends what follows from
it to `out`; the edge (`main.MasterProcess`) drains `out` after each call.
"""

from __future__ import annotations

from ..common.task_states import Json
from . import validation
from .agents import MasterAgents
from .framework_calls import MasterCalls
from .model import Framework
from .operator_messages import framework_event
from .state import HEARTBEAT, HEARTBEAT_SECONDS, EndStream, ToAgent, ToStream, error_event, with_id


class Master(MasterCalls, MasterAgents):
    """One master: subscriptions and the passing of time, beside calls and agents."""

    def subscribe(self, now: float, call: Json, stream_id: str) -> None:
        """Handle SUBSCRIBE; everything, refusals included, is told on the stream.

        Parameters
        ----------
        stream_id
            Of the stream that the answer opens.
        """
        info = dict(call["subscribe"]["framework_info"])
        suppressed = call["subscribe"].get("suppressed_roles", [])
        fault = validation.framework_info(info, suppressed)
        framework_id = call.get("framework_id", {}).get("value", "")
        if fault is None and framework_id in self.removed_ids:
            fault = "Framework has been removed"
        if fault is not None:
            self.out += [ToStream(stream_id, error_event(fault)), EndStream(stream_id)]
            return
        framework = self.frameworks.get(framework_id)
        kind = "FRAMEWORK_ADDED" if framework is None else "FRAMEWORK_UPDATED"
        if framework is None:
            moment = again = self.wall()
            if framework_id:
                again += 1e-6  # it comes back to a master that never heard of it
            else:
                framework_id = f"{self.id}-{self._next_framework:04d}"
                self._next_framework += 1
                # The id stands behind the name in Mesos's own printing; the parser would have put it there.
                info = with_id(info, framework_id)
            framework = Framework(framework_id, info, moment, again)
            self.frameworks[framework_id] = framework
        else:
            if framework.stream_id is not None:
                old = framework.stream_id
                self.out += [ToStream(old, error_event("Framework failed over")), EndStream(old)]
                self._streams.pop(old, None)
            self._drop_offers(now, framework)
            framework.info = {
                **info,
                "user": framework.info["user"],
                "checkpoint": framework.info["checkpoint"],
            }
            framework.reregistered = self.wall()
            if framework.recovered:
                framework.recovered, framework.registered = False, framework.reregistered - 1e-6
        framework.stream_id = stream_id
        framework.failover_at = None
        framework.suppressed = set(suppressed)
        self._streams[stream_id] = framework.id
        self._send(
            framework,
            {
                "type": "SUBSCRIBED",
                "subscribed": {
                    "framework_id": {"value": framework.id},
                    "heartbeat_interval_seconds": HEARTBEAT_SECONDS,
                    "master_info": self.info,
                },
            },
        )
        self._send(framework, HEARTBEAT)
        subscribed = framework
        self.announce(kind, lambda: framework_event(subscribed))
        self._enter(framework)
        if kind == "FRAMEWORK_UPDATED":
            # Mesos tells the agents (Master::subscribe), which at once repeat what was not acknowledged.
            message = {"op": "update_framework", "framework": framework.info, "framework_id": framework.id}
            self.out += [
                ToAgent(agent.link, message) for agent in self.agents.values() if agent.link is not None
            ]
        self.allocate(now)

    def disconnected(self, now: float, stream_id: str) -> None:
        """Note that a framework's stream broke: its failover time runs."""
        framework_id = self._streams.pop(stream_id, None)
        framework = self.frameworks.get(framework_id or "")
        if framework is None or framework.stream_id != stream_id:
            return
        framework.stream_id = None
        self.allocator.deactivate_framework(framework.id)
        self._drop_offers(now, framework)
        timeout = max(0.0, framework.info.get("failover_timeout", 0.0))
        framework.failover_at = now + timeout
        if timeout == 0.0:
            self.remove_framework(now, framework)

    def tick(self, now: float) -> None:
        """Do what a second's passing asks for: batch allocation, failover and agent timeouts."""
        for framework in list(self.frameworks.values()):
            if framework.failover_at is not None and now >= framework.failover_at:
                self.remove_framework(now, framework)
        for agent in list(self.agents.values()):
            if now - agent.heard > self.agent_timeout and agent.reachable:
                self._agent_lost(now, agent)
        if self.recovered and self.return_until is not None and now >= self.return_until:
            self.give_up_recovered()
        self.idle_since = None if self.busy() else (now if self.idle_since is None else self.idle_since)
        self.allocate(now)
