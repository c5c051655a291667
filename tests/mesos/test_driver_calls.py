"""Calls: sent in order, repeated only where that is safe, never lost without a word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from t2notebook.mesos import call_queue
from t2notebook.mesos import driver as driver_module
from t2notebook.mesos._pymesos import load
from t2notebook.mesos.call_queue import REPEATABLE
from t2notebook.mesos.credentials import Credentials
from t2notebook.mesos.driver import Driver
from tests.mesos.fakes import SUBSCRIBED, FakeMaster, Recorder, a_driver, answer, run, stream, until

TASK, AGENT, EXECUTOR, OFFER = ({"value": name} for name in ("t", "S0", "t2-1", "O1"))
STATUS = {"task_id": TASK, "agent_id": AGENT, "uuid": "dQ==", "state": "TASK_RUNNING"}
LAUNCH = [{"type": "LAUNCH", "launch": {"task_infos": []}}]

#: How each kind of call is made.
CALLS: dict[str, Callable[[Driver], Any]] = {
    "ACCEPT": lambda driver: driver.acceptOffers([OFFER], LAUNCH),
    "ACCEPT_INVERSE_OFFERS": lambda driver: driver.acceptInverseOffers([OFFER]),
    "ACKNOWLEDGE": lambda driver: driver.acknowledgeStatusUpdate(STATUS),
    "ACKNOWLEDGE_OPERATION_STATUS": lambda driver: driver.acknowledgeOperationStatusUpdate(
        {
            "uuid": {"value": "dQ=="},
            "operation_id": {"value": "o"},
            "agent_id": AGENT,
            "state": "OPERATION_FINISHED",
        }
    ),
    "DECLINE": lambda driver: driver.declineOffer([OFFER], {"refuse_seconds": 5}),
    "DECLINE_INVERSE_OFFERS": lambda driver: driver.declineInverseOffer([OFFER]),
    "KILL": lambda driver: driver.kill("t", "S0", 3.0),
    "MESSAGE": lambda driver: driver.sendFrameworkMessage(EXECUTOR, AGENT, "aGk="),
    "RECONCILE": lambda driver: driver.reconcile([("t", "S0")]),
    "RECONCILE_OPERATIONS": lambda driver: driver.reconcileOperations([{"operation_id": {"value": "o"}}]),
    "REQUEST": lambda driver: driver.requestResources([]),
    "REVIVE": lambda driver: driver.reviveOffers(),
    "SHUTDOWN": lambda driver: driver.shutdown_executor("S0", "t2-1"),
    "SUPPRESS": lambda driver: driver.suppressOffers(),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "BACKOFF_FIRST", 0.02)


async def subscribed(master: FakeMaster, driver: Driver) -> None:
    master.script = [stream(SUBSCRIBED)]
    driver.start()
    await until(lambda: driver.connected)


def test_the_table_has_every_call() -> None:
    assert set(REPEATABLE) == {*CALLS, "TEARDOWN"}
    assert [kind for kind, safe in REPEATABLE.items() if not safe] == ["ACCEPT", "MESSAGE", "REQUEST"]


@pytest.mark.parametrize("kind", CALLS)
def test_a_connection_that_breaks_under_a_call(kind: str) -> None:
    """It has arrived, and we cannot know: what may not come twice does not, and is reported."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        await subscribed(master, driver)
        driver.suppressOffers()  # now there is a kept connection
        await until(lambda: len(master.calls) == 1)
        master.calls.clear()
        master.codes[kind] = 0
        CALLS[kind](driver)
        await until(lambda: "call_failed" in recorder.names())
        assert master.types() == [kind] * (2 if REPEATABLE[kind] else 1)
        assert recorder.told[-1][1]["type"] == kind
        assert driver.connected, "the stream has nothing to do with it"

    run(scenario)


@pytest.mark.parametrize("kind", CALLS)
def test_a_kept_connection_that_was_closed_unseen_loses_no_call(kind: str) -> None:
    """pymesos: BrokenPipe, and the call is lost."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        await subscribed(master, driver)
        driver.suppressOffers()
        await until(lambda: len(master.calls) == 1)
        master.calls.clear()
        # On the loop that both share nobody has read of the end yet when the next call goes out.
        master.call_streams[-1].close()
        CALLS[kind](driver)
        await until(lambda: master.types() == [kind])
        assert "call_failed" not in recorder.names()

    run(scenario)


@pytest.mark.parametrize("kind", CALLS)
def test_a_call_without_a_subscription_is_reported(kind: str) -> None:
    """pymesos: it returns as if all were well."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [stream(SUBSCRIBED, stay=0), answer(503)]
        driver.start()
        await until(lambda: "disconnected" in recorder.names())
        recorder.told.clear()
        CALLS[kind](driver)
        assert recorder.told == [], "not from inside the call"
        await until(lambda: "call_failed" in recorder.names())
        (failed,) = [told for told in recorder.told if told[0] == "call_failed"]
        assert (failed[1]["type"], failed[1]["framework_id"], failed[2]) == (
            kind,
            {"value": "F"},
            "not subscribed",
        )
        assert not driver.connected
        assert master.calls == []

    run(scenario)


@pytest.mark.parametrize("code", [307, 403, 503, 400])
def test_calls_while_the_leader_changes_are_reported(code: int) -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        await subscribed(master, driver)
        master.codes[""] = code
        driver.acceptOffers([OFFER], LAUNCH)
        await until(lambda: "call_failed" in recorder.names())
        (_, call, why, certain) = next(told for told in recorder.told if told[0] == "call_failed")
        assert certain
        assert (call["type"], why.partition(":")[0]) == ("ACCEPT", f"HTTP {code}")
        if code in (307, 403):
            # This stream is none any more; there is no use in waiting until it is seen to be silent.
            await until(lambda: len(master.subscriptions) == 2)
        else:
            await asyncio.sleep(0.1)
            assert len(master.subscriptions) == 1

    run(scenario)


def test_what_waits_when_the_stream_ends_is_reported() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [stream(SUBSCRIBED, stay=0.3), answer(503)]
        driver.start()
        await until(lambda: driver.connected)
        master.codes["KILL"] = 1
        driver.kill("t")
        driver.acceptOffers([OFFER], LAUNCH)
        await until(lambda: recorder.names().count("call_failed") == 2)
        assert {told[1]["type"] for told in recorder.told if told[0] == "call_failed"} == {"KILL", "ACCEPT"}
        assert master.types() == ["KILL"]

    run(scenario)


def test_a_call_that_is_not_answered_holds_nothing_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """pymesos: 86400 s, and the driver's lock held all the while."""
    assert call_queue.CALL_TIMEOUT <= 60
    monkeypatch.setattr(call_queue, "CALL_TIMEOUT", 0.2)

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        await subscribed(master, driver)
        master.codes["KILL"] = 1
        driver.kill("t")
        driver.suppressOffers()
        await until(lambda: "SUPPRESS" in master.types())
        failed = [(told[1]["type"], told[2]) for told in recorder.told if told[0] == "call_failed"]
        assert failed == [("KILL", "no answer in time")]
        assert master.call_streams[0] is not master.call_streams[1], (
            "a late answer would be taken for the next"
        )
        assert driver.connected

    run(scenario)


def test_the_event_loop_is_free_while_a_call_is_on_its_way() -> None:
    """pymesos acknowledges by a blocking POST on the thread that reads the stream."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        update = {"type": "UPDATE", "update": {"status": STATUS}}
        rescind = {"type": "RESCIND", "rescind": {"offer_id": OFFER}}

        async def later(handler: Any) -> None:
            await stream(SUBSCRIBED, update, stay=0)(handler)
            await until(lambda: master.types() == ["ACKNOWLEDGE"])
            await stream(rescind)(handler)

        master.script = [later]
        master.codes["ACKNOWLEDGE"] = 1
        driver.start()
        await until(lambda: "update" in recorder.names())
        assert master.calls == [], "pymesos acknowledges nothing by itself"
        driver.acknowledgeStatusUpdate(STATUS)
        await until(lambda: "rescinded" in recorder.names())

    run(scenario)


def test_a_message_to_an_executor() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        await subscribed(master, driver)
        CALLS["MESSAGE"](driver)
        await until(lambda: master.types() == ["MESSAGE"])
        assert master.calls[0]["message"] == {"agent_id": AGENT, "executor_id": EXECUTOR, "data": "aGk="}

    run(scenario)


def test_what_pymesos_leaves_out_of_its_calls() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        await subscribed(master, driver)
        driver.killTask(TASK)
        driver.reconcileTasks([{"task_id": TASK, "agent_id": AGENT}, {"task_id": TASK}])
        CALLS["ACKNOWLEDGE_OPERATION_STATUS"](driver)
        CALLS["SHUTDOWN"](driver)
        await until(lambda: len(master.calls) == 4)
        kill, reconcile, acknowledge, shutdown = master.calls
        assert kill["kill"] == {"task_id": TASK}
        assert reconcile["reconcile"]["tasks"] == [{"task_id": TASK, "agent_id": AGENT}, {"task_id": TASK}]
        assert acknowledge["acknowledge_operation_status"] == {
            "agent_id": AGENT,
            "operation_id": {"value": "o"},
            "uuid": "dQ==",
        }
        assert shutdown["shutdown"] == {"executor_id": EXECUTOR, "agent_id": AGENT}

    run(scenario)


def test_suppressed_roles_go_with_the_subscription() -> None:
    async def main() -> None:
        master, recorder = FakeMaster(), Recorder()
        master.script = [stream(SUBSCRIBED)]
        info = a_driver(recorder, master.address).framework
        driver = Driver(recorder, info, master.address, lambda: ["b", "a"])
        driver.start()
        await until(lambda: driver.connected)
        assert master.subscriptions[0]["subscribe"]["suppressed_roles"] == ["a", "b"]
        await driver.stop()
        await master.close()

    asyncio.run(main())


def test_no_other_way_leads_to_a_teardown() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        await subscribed(master, driver)
        with pytest.raises(NotImplementedError, match="await stop"):
            driver.abort()
        driver._shutdown()  # what pymesos's thread does at its end
        driver.suppressOffers()
        await until(lambda: master.types() == ["SUPPRESS"])

    run(scenario)


@pytest.mark.parametrize("teardown", [False, True])
def test_only_who_asks_for_it_gets_a_teardown(teardown: bool) -> None:
    """pymesos: stop() tears down unless it is told not to, whatever the constructor was told."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        await subscribed(master, driver)
        master.codes["KILL"] = 1
        driver.kill("t")
        await until(lambda: master.types() == ["KILL"])
        await (driver.stop(teardown=True) if teardown else driver.stop())
        assert master.types() == ["KILL", "TEARDOWN"][: 1 + teardown]
        assert not driver.connected

    run(scenario)


def test_drivers_keep_their_headers_apart() -> None:
    """pymesos: `headers={}` is one dict, so one driver's Authorization goes out with another's calls."""

    async def main() -> None:
        masters = [FakeMaster() for _ in range(3)]
        accesses = [Credentials("alice", "s3cret"), Credentials("bob", "b:0b"), Credentials("carol")]
        drivers = [
            a_driver(Recorder(), master.address, access)
            for master, access in zip(masters, accesses, strict=True)
        ]
        for master, driver in zip(masters, drivers, strict=True):
            await subscribed(master, driver)
        for driver in drivers:
            driver.suppressOffers()
        await until(lambda: all(len(master.headers) == 2 for master in masters))
        sent = [{headers.get("Authorization") for headers in master.headers} for master in masters]
        assert sent == [{"Basic YWxpY2U6czNjcmV0"}, {"Basic Ym9iOmI6MGI="}, {None}]
        infos = [master.subscriptions[0]["subscribe"]["framework_info"] for master in masters]
        assert [info["principal"] for info in infos] == ["alice", "bob", "carol"]
        for driver in drivers:
            await driver.stop()
        for master in masters:
            await master.close()

    asyncio.run(main())


def test_plain_dicts_come_through() -> None:
    """addict's cost two thirds of the speed."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        offers = {"type": "OFFERS", "offers": {"offers": [{"id": OFFER}]}}
        master.script = [stream(SUBSCRIBED, offers, {"type": "UPDATE", "update": {"status": STATUS}})]
        driver.start()
        await until(lambda: "update" in recorder.names())
        told = {name: arguments[0] for name, *arguments in recorder.told}
        assert type(told["offers"][0]) is dict and type(told["update"]) is dict

    run(scenario)


def test_pymesos_is_what_builds_the_calls() -> None:
    assert issubclass(Driver, load().MesosSchedulerDriver)
