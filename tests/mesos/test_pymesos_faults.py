"""Every fault of pymesos that we know has a test that shows us free of it: the table, and that it is whole."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Where the faults were written down, with the lines of pymesos 0.3.15; not part of the package.
#: Beside the checkout, where the team has it.
SOURCE = Path(__file__).resolve().parents[3] / "shared" / "pymesos.md"

#: Fault -> the tests. Those of the executor are our executor's, which stands in the place of pymesos's.
FAULTS: dict[str, tuple[str, ...]] = {
    "An exception in a callback, or a non-2xx answer to a call made inside a callback": (
        "mesos/test_driver.py::test_an_exception_in_a_callback_tears_nothing_down",
        "mesos/test_driver.py::test_a_refused_call_is_reported_and_tears_nothing_down",
        "mesos/test_pymesos_fence.py::test_an_aborting_driver_does_not_interrupt_the_main_thread",
    ),
    "`stop()` and `abort()` default to `failover=False`": (
        "mesos/test_driver_calls.py::test_only_who_asks_for_it_gets_a_teardown",
        "mesos/test_driver_calls.py::test_no_other_way_leads_to_a_teardown",
    ),
    "Import replaces the SIGINT handler": (
        "mesos/test_pymesos_fence.py::test_loading_changes_nothing_global",
        "mesos/test_pymesos_fence.py::test_an_interrupt_still_reaches_the_process_itself",
    ),
    "The HTTP timeout is 86400 s, not 10": (
        "mesos/test_driver_calls.py::test_a_call_that_is_not_answered_holds_nothing_up_for_long",
    ),
    "No back-off after 503, EOF or ERROR": (
        "mesos/test_driver.py::test_a_master_that_is_busy_is_not_hammered",
        "mesos/test_driver.py::test_pauses_grow_to_a_cap_and_differ",
        "mesos/test_driver.py::test_after_an_error_event_nothing_is_tried_again",
    ),
    "No heartbeat watchdog": (
        "mesos/test_driver.py::test_a_silent_stream_is_given_up",
        "mesos/test_half_open.py::test_a_pulled_cable",
    ),
    "An ERROR event does not abort the driver": (
        "mesos/test_driver.py::test_an_error_event_ends_it_also_when_the_stream_stays_open",
    ),
    "A shared mutable `headers={}`": (
        "mesos/test_driver_calls.py::test_drivers_keep_their_headers_apart",
        "mesos/test_pymesos_faults.py::test_pymesos_sends_nothing_by_itself",
    ),
    "A dropped keep-alive connection loses the call": (
        "mesos/test_driver_calls.py::test_a_kept_connection_that_was_closed_unseen_loses_no_call",
        "mesos/test_driver_calls.py::test_a_connection_that_breaks_under_a_call",
    ),
    "Calls silently do nothing while disconnected": (
        "mesos/test_driver_calls.py::test_a_call_without_a_subscription_is_reported",
        "mesos/test_driver_calls.py::test_calls_while_the_leader_changes_are_reported",
    ),
    "`connected` is true before SUBSCRIBED": ("mesos/test_driver.py::test_connected_means_subscribed",),
    "`_close()` is unlocked and races `_send`": (
        "mesos/test_driver_calls.py::test_what_waits_when_the_stream_ends_is_reported",
    ),
    "`http://`, `https://` and IPv6 masters crash": (
        "model/test_address.py::test_masters_addresses",
        "mesos/test_credentials.py::test_https_with_an_authority_of_our_own",
        "mesos/test_credentials.py::test_a_certificate_of_ours",
        "mesos/test_driver.py::test_ipv6",
        "session/test_masters.py::test_a_job_by_tls_with_a_secret",
    ),
    "The version must be numeric": ("mesos/test_driver.py::test_a_version_is_just_a_text",),
    "A DNS failure aborts; a file descriptor of 1024 or more aborts": (
        "mesos/test_driver.py::test_a_name_that_does_not_resolve_is_tried_again",
        "mesos/test_driver.py::test_descriptors_beyond_1024",
    ),
    "A non-200 answer with a partial body": (
        "mesos/test_driver.py::test_answers_as_no_master_gives_them",
        "mesos/test_driver.py::test_a_stream_may_come_without_chunks",
    ),
    "The back-off sleep cannot be interrupted": ("mesos/test_driver.py::test_a_pause_ends_with_the_driver",),
    "A FAILURE event without `status` or `agent_id`": (
        "mesos/test_driver.py::test_a_failure_event_may_lack_its_status",
    ),
    "It always claims GPU_RESOURCES": ("mesos/test_driver.py::test_framework_info_is_sent_as_it_was_given",),
    "RECONCILE and KILL drop `agent_id`": (
        "mesos/test_driver.py::test_calls_go_out_in_their_order_and_kill_keeps_agent_and_policy",
        "mesos/test_driver_calls.py::test_what_pymesos_leaves_out_of_its_calls",
    ),
    "ACKNOWLEDGE_OPERATION_STATUS has the wrong shape": (
        "mesos/test_driver_calls.py::test_what_pymesos_leaves_out_of_its_calls",
    ),
    "The implicit acknowledgement is a blocking POST": (
        "mesos/test_driver_calls.py::test_the_event_loop_is_free_while_a_call_is_on_its_way",
    ),
    "ZooKeeper: a 15 s hang": (
        "mesos/test_detector.py::test_a_zookeeper_that_is_not_there",
        "mesos/test_detector.py::test_a_zookeeper_that_accepts_and_says_nothing",
        "mesos/test_detector.py::test_a_zookeeper_that_comes_later",
        "mesos/test_detector.py::test_a_password",
    ),
    "The operator driver lacks `onNewMasterDetectedMessage`": (
        "mesos/test_pymesos_faults.py::test_pymesos_sends_nothing_by_itself",
    ),
    "Executor: `MESOS_CHECKPOINT=0` counts as true": (
        "worker/executor/test_settings.py::test_no_checkpointing",
        "worker/test_executor_agent.py::test_without_checkpointing_workers_end_with_the_agent",
        "worker/test_executor_agent.py::test_with_checkpointing_they_wait_for_each_other",
        "worker/test_executor_agent.py::test_an_agent_that_does_not_come_back",
        "worker/test_executor_ends.py::test_what_is_unknown_or_known_already_is_ignored",
        "worker/executor/test_lifecycle.py::test_nothing_is_sent_before_a_launch_and_signals_go_to_processes_only",
    ),
    "addict mode": ("mesos/test_driver_calls.py::test_plain_dicts_come_through",),
    "Not covered: SHUTDOWN, UPDATE_FRAMEWORK": (
        "mesos/test_driver_calls.py::test_what_pymesos_leaves_out_of_its_calls",
        "mesos/test_driver_calls.py::test_suppressed_roles_go_with_the_subscription",
        "worker/test_executor_agent.py::test_a_heartbeat_is_no_news",
    ),
}


@pytest.mark.parametrize("test", sorted({test for tests in FAULTS.values() for test in tests}))
def test_each_test_is_there(test: str) -> None:
    path, _, name = test.partition("::")
    tree = ast.parse((ROOT / "tests" / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.skipif(not SOURCE.is_file(), reason="the table of faults is not on this machine")
def test_no_fault_is_left_out() -> None:
    table = SOURCE.read_text().partition("| Fault | Where |")[2].partition("\n## ")[0]
    faults = [
        match[1].strip().replace("**", "") for match in re.finditer(r"^\| (.+?) \|.*\|$", table, re.MULTILINE)
    ]
    assert len(faults) == len(FAULTS)
    for fault, ours in zip(faults, FAULTS, strict=True):
        assert fault.startswith(ours), fault


def test_pymesos_sends_nothing_by_itself() -> None:
    """Of the operator driver, the executor driver and pymesos's own I/O nothing is used."""
    allowed = {
        "mesos/_pymesos.py": {"MesosOperatorMasterDriver", "HttpParser"},
    }
    unused = re.compile(r"\b(MesosOperator\w*Driver|MesosExecutorDriver|HttpParser)")
    package = ROOT / "t2notebook"
    for path in (
        *package.glob("scheduler/*.py"),
        *package.glob("session/*.py"),
        *package.glob("worker/*.py"),
    ):
        names = set(unused.findall(path.read_text()))
        assert names <= allowed.get(str(path.relative_to(package)), set()), path
