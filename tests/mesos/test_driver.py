"""The driver against a master that misbehaves in ways that the embedded Mesos does not."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import socket

import pytest
from tornado.web import RequestHandler

from t2notebook.mesos import driver as driver_module
from t2notebook.mesos.driver import Driver
from tests.mesos.fakes import (
    HEARTBEAT,
    SUBSCRIBED,
    FakeMaster,
    Recorder,
    a_driver,
    answer,
    record,
    run,
    stream,
    until,
)


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
        (name, call, why, certain) = recorder.told[-1]
        assert certain
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


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that a driver wants to make; none is made."""
    wanted: list[float] = []

    async def pause(self: Driver, seconds: float) -> None:
        wanted.append(seconds)
        await asyncio.sleep(0.002)

    monkeypatch.setattr(Driver, "_pause", pause)
    monkeypatch.setattr(driver_module, "BACKOFF_FIRST", 0.25)
    return wanted


BUSY = {
    "503": answer(503, "recovering"),
    "the end of the connection": stream(stay=0),
    "the end of a stream": stream(SUBSCRIBED, HEARTBEAT, stay=0),
}


@pytest.mark.parametrize("what", BUSY)
def test_pauses_grow_to_a_cap_and_differ(pauses: list[float], what: str) -> None:
    """A subscription that ends at once is no reason to be quick with the next."""
    random.seed(1)

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [BUSY[what]]
        driver.start()
        await until(lambda: len(pauses) >= 14)
        for number, seconds in enumerate(pauses, start=1):
            longest = min(15.0, 0.25 * 2**number)
            assert longest / 2 <= seconds <= longest
        assert len({round(seconds, 6) for seconds in pauses[-6:]}) == 6, "two sessions do not meet again"
        assert len(master.subscriptions) in (len(pauses), len(pauses) + 1)

    run(scenario)


def test_pauses_begin_anew_after_a_subscription_that_held(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "BACKOFF_CAP", 0.05)
    monkeypatch.setattr(driver_module, "BACKOFF_FIRST", 0.001)

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [answer(503)] * 7 + [stream(SUBSCRIBED, stay=0.2), answer(503), stream(SUBSCRIBED)]
        driver.start()
        await until(lambda: len(pauses) >= 8)
        assert pauses[6] >= 0.025
        assert pauses[7] <= 0.002

    run(scenario)


@pytest.mark.parametrize("says", ["Master has not finished recovery", "No leader elected"])
def test_a_master_that_will_soon_lead_is_asked_again_soon(pauses: list[float], says: str) -> None:
    """A real one took its time; the session came 12 s after it was done."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [answer(503, says)]
        driver.start()
        await until(lambda: len(pauses) >= 8)
        assert max(pauses) <= 2.0

    run(scenario)


@pytest.mark.parametrize(("share", "longest"), [(0.125, 2.0), (1e9, 15.0)])
def test_a_master_that_is_not_there_yet_is_asked_again_soon_and_one_that_is_gone_seldom(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch, share: float, longest: float
) -> None:
    """A job that was submitted right before its master was up waited for up to 15 s more, 31 s in all."""
    monkeypatch.setattr(driver_module, "BACKOFF_SHARE", share)

    async def scenario(address: str) -> None:
        recorder = Recorder()
        driver = a_driver(recorder, address)
        driver.start()
        await until(lambda: len(pauses) >= 12)
        assert longest / 2 <= max(pauses) <= longest
        assert "Connection refused" in recorder.told[0][1]
        await driver.stop()

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        asyncio.run(scenario(f"127.0.0.1:{nobody.getsockname()[1]}"))


def test_a_master_that_accepts_and_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "SILENT_AT_FIRST", 0.1)

    async def scenario(address: str) -> None:
        recorder = Recorder()
        driver = a_driver(recorder, address)
        driver.start()
        await until(lambda: "disconnected" in recorder.names())
        assert recorder.told[0][1] == f"{address} accepts connections and does not answer"
        await driver.stop()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(scenario(f"127.0.0.1:{silent.getsockname()[1]}"))


def test_a_web_page_is_not_quoted() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [answer(501, "<!DOCTYPE HTML>\n<html>no</html>")]
        driver.start()
        await until(lambda: "disconnected" in recorder.names())
        assert recorder.told[0][1].endswith("(HTTP 501): that is a web page; is it a Mesos master?")

    run(scenario)


def test_a_pause_ends_with_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """pymesos: join took 11.9 s."""
    monkeypatch.setattr(driver_module, "BACKOFF_FIRST", 15.0)

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [answer(503)]
        driver.start()
        await until(lambda: "disconnected" in recorder.names())
        async with asyncio.timeout(5):
            await driver.stop()

    run(scenario)


def test_an_error_event_ends_it_also_when_the_stream_stays_open() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        text = "Not authorized to use role 'eng'"
        master.script = [stream({"type": "ERROR", "error": {"message": text}})]
        driver.start()
        await until(lambda: "error" in recorder.names())
        assert recorder.told == [("error", text)]
        await asyncio.sleep(0.3)
        assert (len(master.subscriptions), driver.connected, master.calls) == (1, False, [])

    run(scenario)


def test_a_version_is_just_a_text() -> None:
    """pymesos: int("0-rc1"), and the driver aborts."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        subscribed = {**SUBSCRIBED["subscribed"], "master_info": {"version": "1.11.0-rc1"}}
        offers = {"type": "OFFERS", "offers": {"offers": [{"id": {"value": "O1"}}]}}
        master.script = [stream({"type": "SUBSCRIBED", "subscribed": subscribed}, offers)]
        driver.start()
        await until(lambda: "offers" in recorder.names())
        assert recorder.told[0][2] == {"version": "1.11.0-rc1"}
        assert recorder.told[-1] == ("offers", [{"id": {"value": "O1"}}])

    run(scenario)


def test_a_name_that_does_not_resolve_is_tried_again() -> None:
    """pymesos: a DNS failure aborts the driver."""

    async def main() -> None:
        recorder = Recorder()
        driver = a_driver(recorder, "no-such-host.invalid:5050")
        driver.start()
        await until(lambda: recorder.names().count("disconnected") >= 2)
        assert "error" not in recorder.names()
        assert recorder.told[0][1].startswith("no-such-host.invalid:5050: ")
        await driver.stop()

    asyncio.run(main())


def test_descriptors_beyond_1024() -> None:
    """pymesos: select() takes none, and the driver aborts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("no process here may have so many")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    taken: list[int] = []

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        while not taken or taken[-1] < 1100:
            taken.append(os.dup(0))
        master.script = [stream(SUBSCRIBED)]
        driver.start()
        await until(lambda: driver.connected)
        driver.suppressOffers()
        await until(lambda: master.types() == ["SUPPRESS"])

    try:
        run(scenario)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


RAW = {
    "a body that is cut": b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nabc",
    "a body without a length": b"HTTP/1.1 500 Oh\r\n\r\nabc",
    "a stream without chunks": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
    % (len(record(HEARTBEAT)), record(HEARTBEAT)),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("what", RAW)
def test_answers_as_no_master_gives_them(what: str) -> None:
    """pymesos: TypeError (bytes + str) for a partial body, and abort for a 200 without chunks."""

    async def main() -> None:
        asked = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(RAW[what])
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        recorder = Recorder()
        driver = a_driver(recorder, f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        driver.start()
        await until(lambda: len(asked) >= 2)
        assert set(recorder.names()) == {"disconnected"}
        await driver.stop()
        server.close()

    asyncio.run(main())


def test_a_stream_may_come_without_chunks() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        async def plain(handler: RequestHandler) -> None:
            body = record(SUBSCRIBED) + record({"type": "RESCIND", "rescind": {"offer_id": {"value": "O1"}}})
            handler.set_header("Content-Length", str(len(body)))
            handler.finish(body)

        master.script = [plain, stream(SUBSCRIBED)]
        driver.start()
        await until(lambda: len(master.subscriptions) == 2)
        assert ("rescinded", "O1") in recorder.told

    run(scenario)


def test_connected_means_subscribed() -> None:
    """pymesos: true once TCP is, and then `assert framework_id` fails."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [stream(HEARTBEAT)]
        driver.start()
        await until(lambda: len(master.subscriptions) == 1)
        await asyncio.sleep(0.1)
        assert not driver.connected
        with pytest.raises(RuntimeError, match="nothing has been subscribed yet"):
            driver.suppressOffers()

    run(scenario)


def test_an_interval_that_is_none_is_not_believed() -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        never = {
            "type": "SUBSCRIBED",
            "subscribed": {**SUBSCRIBED["subscribed"], "heartbeat_interval_seconds": 0},
        }
        master.script = [stream(never)]
        driver.start()
        await until(lambda: driver.connected)
        await asyncio.sleep(0.3)
        assert driver.connected

    run(scenario)


def test_redirects_that_go_round_are_not_followed_for_ever(pauses: list[float]) -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [answer(307, Location=f"//127.0.0.1:{master.port}/master/api/v1/scheduler")]
        driver.start()
        await until(lambda: len(pauses) >= 3)
        rounds = len(master.subscriptions) / 4
        assert len(pauses) <= rounds <= len(pauses) + 1, "four at once, then a pause, four at once, ..."
        assert "sends us to //127.0.0.1" in recorder.told[-1][1]

    run(scenario)


def test_a_redirect_to_a_dead_leader_ends_at_the_next_one(pauses: list[float]) -> None:
    """For about 9 s after the leader's end the others name the dead one (seen on Mesos 1.12)."""

    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        dead, leader = FakeMaster(), FakeMaster()
        await dead.close()
        leader.script = [stream(SUBSCRIBED)]
        to_dead = answer(307, Location=f"//127.0.0.1:{dead.port}/master/api/v1/scheduler")
        master.script = [to_dead] * 6 + [answer(307, Location=f"//127.0.0.1:{leader.port}/x")]
        driver.start()
        await until(lambda: driver.connected)
        assert len(pauses) == 6 and max(pauses) <= 2.0, "home is alive, and is asked again soon"
        assert driver.leader == leader.address
        # And when that one ends, home is asked again.
        leader.script = [stream(SUBSCRIBED, stay=0)]
        before = len(master.subscriptions)
        await leader.close()
        await until(lambda: len(master.subscriptions) > before)

    run(scenario)


@pytest.mark.parametrize("code", [401, 403, 400])
def test_a_first_subscription_that_is_refused_is_final(code: int) -> None:
    async def scenario(master: FakeMaster, recorder: Recorder, driver: Driver) -> None:
        master.script = [answer(code, "no")]
        driver.start()
        await until(lambda: "error" in recorder.names())
        await asyncio.sleep(0.2)
        assert len(master.subscriptions) == 1

    run(scenario)


def test_a_framework_that_may_have_tasks_is_not_given_up_for_a_refusal() -> None:
    """A secret that is changed on the master first must not end what runs."""

    async def main() -> None:
        master, recorder = FakeMaster(), Recorder()
        master.script = [answer(401), answer(403), stream(SUBSCRIBED)]
        driver = a_driver(recorder, master.address, id={"value": "F"})
        driver.start()
        await until(lambda: driver.connected)
        assert "error" not in recorder.names()
        await driver.stop()
        await master.close()

    asyncio.run(main())


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
@pytest.mark.parametrize("form", ["[::1]:{}", "http://[::1]:{}"])
def test_ipv6(form: str) -> None:
    """pymesos: a crash on split(':', 2)."""

    async def main() -> None:
        home, leader, recorder = FakeMaster("::1"), FakeMaster("::1"), Recorder()
        home.script = [answer(307, Location=f"//[::1]:{leader.port}/master/api/v1/scheduler")]
        leader.script = [stream(SUBSCRIBED)]
        driver = a_driver(recorder, form.format(home.port))
        driver.start()
        await until(lambda: driver.connected)
        assert recorder.told[0][3] == "::1"
        driver.suppressOffers()
        await until(lambda: leader.types() == ["SUPPRESS"])
        assert leader.headers[-1]["Host"] == f"[::1]:{leader.port}"
        await driver.stop()
        for master in (home, leader):
            await master.close()

    asyncio.run(main())
