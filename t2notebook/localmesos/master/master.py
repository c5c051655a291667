"""The master, without I/O: calls and agents' messages in, events and messages out.

Every method takes the time it happens at (`now`, seconds of any steady clock) and appends what follows from
it to `state.out`; the edge (`main.MasterProcess`) drains that after each call.
"""

from __future__ import annotations

from ..common.task_states import Json
from . import validation
from .agent_messages import AgentMessages
from .framework_calls import FrameworkCalls
from .model import Framework
from .operator_messages import framework_event
from .state import (
    HEARTBEAT,
    HEARTBEAT_SECONDS,
    EndStream,
    MasterState,
    ToAgent,
    ToStream,
    error_event,
    with_id,
)


class Master:
    """One master: subscriptions and the passing of time, beside frameworks' calls and agents' messages.

    Parameters
    ----------
    state
        Its memory, which the parts share, and what it has to send.

    Attributes
    ----------
    calls
        Takes the calls of subscribed frameworks.
    agents
        Takes the agents' messages.
    """

    def __init__(self, state: MasterState) -> None:
        self.state = state
        self.calls = FrameworkCalls(state)
        self.agents = AgentMessages(state)

    def subscribe(self, now: float, call: Json, stream_id: str) -> None:
        """Handle SUBSCRIBE; everything, refusals included, is told on the stream.

        Parameters
        ----------
        stream_id
            Of the stream that the answer opens.
        """
        state = self.state
        info = dict(call["subscribe"]["framework_info"])
        suppressed = call["subscribe"].get("suppressed_roles", [])
        fault = validation.framework_info(info, suppressed)
        framework_id = call.get("framework_id", {}).get("value", "")
        if fault is None and framework_id in state.removed_ids:
            fault = "Framework has been removed"
        if fault is not None:
            state.out += [ToStream(stream_id, error_event(fault)), EndStream(stream_id)]
            return
        framework = state.frameworks.get(framework_id)
        kind = "FRAMEWORK_ADDED" if framework is None else "FRAMEWORK_UPDATED"
        if framework is None:
            moment = again = state.wall()
            if framework_id:
                again += 1e-6  # it comes back to a master that never heard of it
            else:
                framework_id = state.new_framework_id()
                # The id stands behind the name in Mesos's own printing; the parser would have put it there.
                info = with_id(info, framework_id)
            framework = Framework(framework_id, info, moment, again)
            state.frameworks[framework_id] = framework
        else:
            if framework.stream_id is not None:
                old = framework.stream_id
                state.out += [ToStream(old, error_event("Framework failed over")), EndStream(old)]
                state.streams.pop(old, None)
            state.drop_offers(now, framework)
            framework.info = {
                **info,
                "user": framework.info["user"],
                "checkpoint": framework.info["checkpoint"],
            }
            framework.reregistered = state.wall()
            if framework.recovered:
                framework.recovered, framework.registered = False, framework.reregistered - 1e-6
        framework.stream_id = stream_id
        framework.failover_at = None
        framework.suppressed = set(suppressed)
        state.streams[stream_id] = framework.id
        state.send(
            framework,
            {
                "type": "SUBSCRIBED",
                "subscribed": {
                    "framework_id": {"value": framework.id},
                    "heartbeat_interval_seconds": HEARTBEAT_SECONDS,
                    "master_info": state.info,
                },
            },
        )
        state.send(framework, HEARTBEAT)
        subscribed = framework
        state.announce(kind, lambda: framework_event(subscribed))
        state.enter(framework)
        if kind == "FRAMEWORK_UPDATED":
            # Mesos tells the agents (Master::subscribe), which at once repeat what was not acknowledged.
            message = {"op": "update_framework", "framework": framework.info, "framework_id": framework.id}
            state.out += [
                ToAgent(agent.link, message) for agent in state.agents.values() if agent.link is not None
            ]
        state.allocate(now)

    def disconnected(self, now: float, stream_id: str) -> None:
        """Note that a framework's stream broke: its failover time runs."""
        state = self.state
        framework_id = state.streams.pop(stream_id, None)
        framework = state.frameworks.get(framework_id or "")
        if framework is None or framework.stream_id != stream_id:
            return
        framework.stream_id = None
        state.allocator.deactivate_framework(framework.id)
        state.drop_offers(now, framework)
        timeout = max(0.0, framework.info.get("failover_timeout", 0.0))
        framework.failover_at = now + timeout
        if timeout == 0.0:
            state.remove_framework(now, framework)

    def tick(self, now: float) -> None:
        """Do what a second's passing asks for: batch allocation, failover and agent timeouts."""
        state = self.state
        for framework in list(state.frameworks.values()):
            if framework.failover_at is not None and now >= framework.failover_at:
                state.remove_framework(now, framework)
        self.agents.tick(now)
        if state.busy():
            state.idle_since = None
        elif state.idle_since is None:
            state.idle_since = now
        state.allocate(now)
