"""The driver against a master that misbehaves in ways that the embedded Mesos does not."""

from __future__ import annotations

import asyncio

import pytest
from tornado.web import RequestHandler

from t2notebook.scheduler import driver as driver_module
from t2notebook.scheduler.driver import Driver
from tests.scheduler.fakes import SUBSCRIBED, FakeMaster, Recorder, answer, record, run, stream, until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "BACKOFF_FIRST", 0.05)


def test_a_stream_that_ends_is_subscribed_again_under_the_same_id() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [stream(SUBSCRIBED, stay=0), stream(SUBSCRIBED)]
        driver.start()
        await until(lambda: recorder.names().count("subscribed") == 2)
        assert "framework_id" not in master.subscriptions[0]
        assert master.subscriptions[1]["framework_id"] == {"value": "F"}
        assert "disconnected" in recorder.names()
        assert [call["type"] for call in master.calls] == [], "nothing is torn down"

    run(scenario)


def test_a_master_that_is_busy_is_not_hammered() -> None:
    """pymesos: 1,467 SUBSCRIBEs in 2 s after a 503."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [answer(503, "recovering")]
        driver.start()
        await asyncio.sleep(2.0)
        assert 2 <= len(master.subscriptions) <= 12
        gaps = [
            after["at"] - before["at"]
            for before, after in zip(master.subscriptions, master.subscriptions[1:], strict=False)
        ]
        assert gaps[-1] > gaps[0]

    run(scenario)


def test_an_exception_in_a_callback_tears_nothing_down() -> None:
    """pymesos: TEARDOWN, and KeyboardInterrupt in the main thread."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        recorder.fail = True
        rescind = {"type": "RESCIND", "rescind": {"offer_id": {"value": "O1"}}}
        master.script = [stream(SUBSCRIBED, rescind, rescind)]
        driver.start()
        await until(lambda: recorder.names().count("rescinded") == 2)
        assert driver.connected
        assert master.calls == []

    run(scenario)


def test_a_refused_call_is_reported_and_tears_nothing_down() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [stream(SUBSCRIBED)]
        master.codes[""] = 400
        driver.start()
        await until(lambda: driver.connected)
        driver.acceptOffers([{"value": "O1"}], [{"type": "LAUNCH", "launch": {"task_infos": []}}])
        await until(lambda: "call_failed" in recorder.names())
        (name, call, why) = recorder.told[-1]
        assert (name, call["type"], why) == ("call_failed", "ACCEPT", "HTTP 400: refused")
        assert driver.connected
        assert [call["stream"] for call in master.calls] == ["stream-1"]

    run(scenario)


def test_a_silent_stream_is_given_up() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        quickly = {
            **SUBSCRIBED,
            "subscribed": {**SUBSCRIBED["subscribed"], "heartbeat_interval_seconds": 0.05},
        }
        master.script = [stream(quickly), stream(SUBSCRIBED)]
        driver.start()
        await until(lambda: len(master.subscriptions) == 2)

    run(scenario)


def test_a_redirect_is_followed_at_once() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        leader = FakeMaster()
        leader.script = [stream(SUBSCRIBED)]
        master.script = [answer(307, Location=f"//127.0.0.1:{leader.port}/master/api/v1/scheduler")]
        driver.start()
        await until(lambda: driver.connected)
        assert len(leader.subscriptions) == 1
        await leader.close()

    run(scenario)


def test_after_an_error_event_nothing_is_tried_again() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        error = {"type": "ERROR", "error": {"message": "Framework failed over"}}
        master.script = [stream(SUBSCRIBED, error, stay=0)]
        driver.start()
        await until(lambda: "error" in recorder.names())
        await asyncio.sleep(0.3)
        assert len(master.subscriptions) == 1
        assert ("error", "Framework failed over") in recorder.told

    run(scenario)


def test_a_failure_event_may_lack_its_status() -> None:
    """pymesos: KeyError, and the driver aborts."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        of_executor = {"agent_id": {"value": "S0"}, "executor_id": {"value": "t2-1"}}
        of_agent = {"agent_id": {"value": "S0"}}
        master.script = [
            stream(
                SUBSCRIBED,
                *({"type": "FAILURE", "failure": failure} for failure in (of_executor, of_agent, {})),
            )
        ]
        driver.start()
        await until(lambda: "agent_lost" in recorder.names())
        assert ("executor_lost", "S0", "t2-1", None) in recorder.told

    run(scenario)


def test_framework_info_is_sent_as_it_was_given() -> None:
    """pymesos claims GPU_RESOURCES and a failover_timeout of 100 s of its own."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [stream(SUBSCRIBED)]
        driver.start()
        await until(lambda: driver.connected)
        info = master.subscriptions[0]["subscribe"]["framework_info"]
        assert info["failover_timeout"] == 60
        assert {"type": "GPU_RESOURCES"} not in info["capabilities"]

    run(scenario)


def test_calls_go_out_in_their_order_and_kill_keeps_agent_and_policy() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [stream(SUBSCRIBED)]
        driver.start()
        await until(lambda: driver.connected)
        driver.suppressOffers()
        driver.reviveOffers()
        driver.kill("t", "S0", 3.0)
        driver.reconcile([("t", "S0")])
        driver.shutdown_executor("S0", "t2-1")
        await until(lambda: len(master.calls) == 5)
        assert [call["type"] for call in master.calls] == [
            "SUPPRESS",
            "REVIVE",
            "KILL",
            "RECONCILE",
            "SHUTDOWN",
        ]
        assert master.calls[2]["kill"] == {
            "task_id": {"value": "t"},
            "agent_id": {"value": "S0"},
            "kill_policy": {"grace_period": {"nanoseconds": 3_000_000_000}},
        }
        assert master.calls[3]["reconcile"]["tasks"] == [
            {"task_id": {"value": "t"}, "agent_id": {"value": "S0"}}
        ]

    run(scenario)


def test_only_stop_with_teardown_sends_one() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [stream(SUBSCRIBED)]
        driver.start()
        await until(lambda: driver.connected)
        await driver.stop(teardown=True)
        assert [call["type"] for call in master.calls] == ["TEARDOWN"]

    run(scenario)


def test_a_stream_that_is_no_recordio_is_given_up() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        async def junk(handler: RequestHandler) -> None:
            handler.write(record(SUBSCRIBED) + b"<html>\n")
            await handler.flush()
            await asyncio.sleep(60)

        master.script = [junk, stream(SUBSCRIBED)]
        driver.start()
        await until(lambda: len(master.subscriptions) == 2)
        assert any("is not the length of a record" in str(told) for told in recorder.told)

    run(scenario)
