"""The master's state machine alone: time, lost agents, reconciliation."""

from __future__ import annotations

from typing import Any

from t2notebook.localmesos.common.resources import Resources
from t2notebook.localmesos.master.master import Master
from t2notebook.localmesos.master.state import EndStream, MasterState, ToAgent, ToStream
from t2notebook.localmesos.v1 import schema
from tests.localmesos.client import Json, resources


class Game:
    """A master with one agent and one framework."""

    def __init__(self, *capabilities: str, failover_timeout: float = 60.0) -> None:
        self.now = 100.0
        state = MasterState("127.0.0.1", 5050, agent_timeout=5.0, seed=1, wall=lambda: self.now)
        self.master = Master(state)
        self.agent = self.register()
        self.info = {"user": "u", "name": "n", "roles": ["*"], "failover_timeout": failover_timeout}
        self.info["checkpoint"] = True
        self.info["capabilities"] = [{"type": name} for name in ("MULTI_ROLE", *capabilities)]
        self.framework_id = self.subscribe("s1")[0]["subscribed"]["framework_id"]["value"]

    def register(self, agent_id: str | None = None, link: str = "link", **more: Any) -> str:
        info = {"hostname": "h", "port": 1, "resources": Resources.of(cpus=4, mem=4096).to_json()}
        message = {"index": 0, "pid": "slave(1)@127.0.0.1:1", "agent_id": agent_id, "info": info, **more}
        agent_id = self.master.agents.register(self.now, link, message)
        self.master.state.allocate(self.now, [agent_id])
        return agent_id

    def subscribe(self, stream: str, framework_id: str | None = None) -> list[Json]:
        call: Json = {"type": "SUBSCRIBE", "subscribe": {"framework_info": dict(self.info)}}
        if framework_id is not None:
            call["framework_id"] = call["subscribe"]["framework_info"]["id"] = {"value": framework_id}
        self.master.subscribe(self.now, schema.parse("scheduler.Call", call), stream)
        return self.events()

    def call(self, kind: str, **payload: Any) -> None:
        framework = self.master.state.frameworks[self.framework_id]
        call = {"type": kind, "framework_id": {"value": self.framework_id}, **payload}
        self.master.calls.handle(self.now, framework, schema.parse("scheduler.Call", call))

    def outputs(self) -> list[object]:
        found, self.master.state.out = list(self.master.state.out), []
        return found

    def events(self) -> list[Json]:
        return [one.event for one in self.outputs() if isinstance(one, ToStream)]

    def offer(self) -> None:
        """Let a second pass, so that what is free is offered."""
        self.now += 1
        self.master.tick(self.now)
        assert [event["type"] for event in self.events()] == ["OFFERS"]

    def told(self, kind: str) -> list[Json]:
        return [event[kind.lower()] for event in self.events() if event["type"] == kind]

    def launch(self, task_id: str = "t", only: str | None = None) -> None:
        offers = [only] if only is not None else list(self.master.state.frameworks[self.framework_id].offers)
        info = {
            "name": "n",
            "task_id": {"value": task_id},
            "agent_id": {"value": self.agent},
            "resources": resources(cpus=1, mem=64),
            "command": {"value": "true"},
        }
        operation = {"type": "LAUNCH", "launch": {"task_infos": [info]}}
        accept = {"offer_ids": [{"value": one} for one in offers], "operations": [operation]}
        self.call("ACCEPT", accept={**accept, "filters": {"refuse_seconds": 0}})

    def update(self, state: str, uuid: str = "AAAAAAAAAAAAAAAAAAAAAA==", task_id: str = "t") -> None:
        status = {
            "task_id": {"value": task_id},
            "state": state,
            "uuid": uuid,
            "agent_id": {"value": self.agent},
        }
        self.master.agents.update(
            self.agent, {"framework_id": self.framework_id, "status": status, "latest_state": state}
        )


def test_failover_timeout_removes_the_framework() -> None:
    game = Game("PARTITION_AWARE", failover_timeout=10)
    game.launch()
    game.master.disconnected(game.now, "s1")
    game.master.state.agents[game.agent].heard = 1e9
    game.master.tick(game.now + 9)
    assert game.framework_id in game.master.state.frameworks
    assert game.master.state.busy()
    game.outputs()
    game.master.tick(game.now + 10)
    assert game.framework_id not in game.master.state.frameworks
    told = [one.message["op"] for one in game.outputs() if isinstance(one, ToAgent)]
    assert "shutdown_framework" in told
    assert not game.master.state.busy()
    assert game.subscribe("s2", game.framework_id)[0]["error"]["message"] == "Framework has been removed"
    assert game.master.state.allocator.free(game.agent) == Resources.of(cpus=4, mem=4096)


def test_a_frameworks_end_is_told_only_where_it_was() -> None:
    """It was told to every agent: with thousands of them, the removals of small frameworks were most of the work."""
    game = Game()
    away, elsewhere = game.register(link="away"), game.register(link="elsewhere")
    game.agent = away
    (offer_id,) = (one.id for one in game.master.state.agents[away].offers.values())
    game.launch(only=offer_id)
    # An agent that comes back with work of it may know more of it than the master.
    reported: Json = {"tasks": [], "executors": [], "frameworks": {game.framework_id: game.info}}
    game.register(elsewhere, link="elsewhere", **reported)
    game.outputs()
    game.call("TEARDOWN")
    told = {
        one.link
        for one in game.outputs()
        if isinstance(one, ToAgent) and one.message["op"] == "shutdown_framework"
    }
    assert told == {"away", "elsewhere"}
    assert game.master.state.allocator.free(away) == Resources.of(cpus=4, mem=4096)


def test_resubscription_in_time_keeps_the_tasks() -> None:
    game = Game("PARTITION_AWARE", failover_timeout=10)
    game.launch()
    game.update("TASK_RUNNING")
    game.master.disconnected(game.now, "s1")
    game.subscribe("s2", game.framework_id)
    game.master.state.agents[game.agent].heard = 1e9
    game.master.tick(game.now + 100)
    game.events()
    game.call("RECONCILE", reconcile={})
    (event,) = game.events()
    assert event["update"]["status"]["state"] == "TASK_RUNNING"


def test_second_subscription_ends_the_first() -> None:
    game = Game()
    call = {
        "type": "SUBSCRIBE",
        "subscribe": {"framework_info": {**game.info, "id": {"value": game.framework_id}}},
    }
    call["framework_id"] = {"value": game.framework_id}
    game.master.subscribe(game.now, schema.parse("scheduler.Call", call), "s2")
    first, second = game.outputs()[:2]
    assert isinstance(first, ToStream)
    assert (first.stream_id, first.event["error"]["message"]) == ("s1", "Framework failed over")
    assert second == EndStream("s1")
    # The old stream's end is not the framework's.
    game.master.disconnected(game.now, "s1")
    assert game.master.state.frameworks[game.framework_id].connected


def test_lost_agent_and_its_return() -> None:
    game = Game("PARTITION_AWARE")
    game.launch()
    game.update("TASK_RUNNING")
    game.events()
    game.offer()
    game.master.agents.disconnected(game.now, "link")
    assert [event["type"] for event in game.events()] == ["RESCIND"]
    game.master.tick(game.now + 4)
    assert game.events() == []
    game.master.tick(game.now + 6)
    update, failure = game.events()
    status = update["update"]["status"]
    assert (status["state"], status["reason"]) == ("TASK_UNREACHABLE", "REASON_AGENT_REMOVED")
    assert "unreachable_time" in status
    assert failure["failure"] == {"agent_id": {"value": game.agent}}
    game.call("RECONCILE", reconcile={"tasks": [{"task_id": {"value": "t"}}]})
    assert game.events()[0]["update"]["status"]["state"] == "TASK_UNREACHABLE"
    game.call("KILL", kill={"task_id": {"value": "t"}})
    assert game.events()[0]["update"]["status"]["message"] == "Reconciliation: Task is unreachable"
    report = {"framework_id": game.framework_id, "task_id": "t", "state": "TASK_RUNNING", "status": {}}
    game.register(game.agent, "link2", tasks=[report], executors=[], frameworks=[game.framework_id])
    back, offers = game.events()
    assert back["update"]["status"]["message"] == "Unreachable agent re-reregistered"
    assert back["update"]["status"]["state"] == "TASK_RUNNING"
    free = {item["name"]: item["scalar"]["value"] for item in offers["offers"]["offers"][0]["resources"]}
    assert free == {"cpus": 3.0, "mem": 4032.0}


def test_old_framework_hears_lost() -> None:
    game = Game()
    game.launch()
    game.update("TASK_RUNNING")
    game.events()
    game.master.tick(game.now + 6)
    assert game.told("UPDATE")[0]["status"]["state"] == "TASK_LOST"


def test_short_break_of_a_link_loses_nothing_but_what_never_arrived() -> None:
    game = Game("PARTITION_AWARE")
    game.launch("arrived")
    game.update("TASK_RUNNING", task_id="arrived")
    game.events()
    game.offer()
    game.launch("lost")
    game.master.agents.disconnected(game.now, "link")
    game.events()
    report = {"framework_id": game.framework_id, "task_id": "arrived", "state": "TASK_RUNNING", "status": {}}
    game.register(game.agent, "link2", tasks=[report], executors=[], frameworks=[game.framework_id])
    update, offers = game.events()
    assert update["update"]["status"]["task_id"]["value"] == "lost"
    assert update["update"]["status"]["state"] == "TASK_DROPPED"
    assert offers["offers"]["offers"][0]["resources"][0]["scalar"]["value"] == 3.0


def test_reconciliation_of_the_unknown() -> None:
    for capability, states in (("PARTITION_AWARE", ("GONE", "UNKNOWN")), ("REGION_AWARE", ("LOST", "LOST"))):
        game = Game(capability)
        known = {"task_id": {"value": "x"}, "agent_id": {"value": game.agent}}
        game.call("RECONCILE", reconcile={"tasks": [known, {"task_id": {"value": "y"}}]})
        found = [event["update"]["status"]["state"] for event in game.events()]
        assert found == [f"TASK_{state}" for state in states]


def test_acknowledged_end_completes_a_task() -> None:
    game = Game()
    game.launch()
    game.update("TASK_FINISHED", "AAAAAAAAAAAAAAAAAAAAAQ==")
    framework = game.master.state.frameworks[game.framework_id]
    assert game.master.state.allocator.free(game.agent).amount("cpus") in (0.0, 1.0, 4.0)
    ack = {"agent_id": {"value": game.agent}, "task_id": {"value": "t"}, "uuid": "AAAAAAAAAAAAAAAAAAAAAA=="}
    game.call("ACKNOWLEDGE", acknowledge=ack)
    assert "t" in framework.tasks
    game.call("ACKNOWLEDGE", acknowledge={**ack, "uuid": "AAAAAAAAAAAAAAAAAAAAAQ=="})
    assert "t" not in framework.tasks
    assert framework.completed[-1].state == "TASK_FINISHED"
