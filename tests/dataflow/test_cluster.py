"""`MesosCluster` as users of Dask meet it.

The cases of distributed's own ``test_spec_cluster``, ``test_cluster`` and ``test_adaptive`` are tried anew, here, in
``test_scaling.py`` and in ``test_life.py``:

==================================================  ================================================================
of ``test_spec_cluster``                            here
==================================================  ================================================================
specification, spec_sync, repr, widget              `test_an_ordinary_cluster`
loop_started_in_constructor, scale                  `test_used_from_an_event_loop`, `test_scaling_from_an_event_loop`
scale_cores_memory                                  `test_scale_by_memory_and_cores`
adaptive_killed_worker                              `test_a_killed_worker_comes_back_with_and_without_adapt`
unexpected_closed_worker                            `test_a_worker_that_is_lost_for_good_is_replaced`
restart                                             `test_restart`
broken_worker                                       `test_workers_that_cannot_be_say_why_and_are_not_tried_for_ever`
spec_close_clusters                                 `test_a_kernel_that_ends_in_good_order_takes_its_cluster_along`
get_logs                                            `test_logs_also_of_workers_that_have_ended`
scheduler_info                                      `test_threads_and_memory_follow_the_resources`
dashboard_link                                      `test_dashboard`
bad_close                                           `test_closed_before_it_was_started`
shutdown_scheduler                                  `test_closing_leaves_nothing`
shutdown_scheduler_disabled                         does not apply: ``on_exit="detach"`` takes its place
new_worker_spec, run_spec, names of workers         do not apply: all workers of a cluster are alike, and have numbers
spec_process, ProcessInterfaceValid                 do not apply: workers are no objects of the notebook's process
nanny_port, MultiWorker                             do not apply: one Dask worker a Mesos task, and no Nanny
==================================================  ================================================================

==================================================  ================================================================
of ``test_cluster``                                 here
==================================================  ================================================================
eq, repr                                            `test_an_ordinary_cluster`
cluster_wait_for_worker                             `test_scale_up_down_and_up_again_loses_nothing`
sync_context_manager_used_with_async_cluster        `test_closed_before_it_was_started`
exponential_backoff                                 does not apply: distributed's own function, which nothing here calls
==================================================  ================================================================

==================================================  ================================================================
of ``test_adaptive``                                here
==================================================  ================================================================
adaptive_local_cluster, multi_workers, basic_no_loop,
adapt_quickly, target_duration                      `test_adapt_grows_with_the_tasks_and_shrinks_when_they_are_done`
min_max, avoid_churn, adaptive_no_memory_limit      `test_adapt_keeps_to_its_bounds_and_does_not_churn`
adapt_down, update_adaptive, adapt_gets_stopped_on_
cluster_close, adaptive_stops_on_cluster_status_
change                                              `test_adapting_anew_takes_the_new_bounds_and_ends_with_the_cluster`
no_more_workers_than_tasks                          `test_no_more_workers_than_tasks`
worker_keys                                         `test_adapt_ends_workers_of_a_group_together`
adapt_cores_memory                                  `test_adapt_by_cores_and_memory`
adaptive_stopped, interval                          `test_scale_after_adapt_is_by_hand_again`
scale_needs_to_be_awaited                           `test_adaptive_of_ones_own`, which awaits `Adaptive`'s own ``scale``
adapt_logs_error, callback_logs_error               `test_an_error_of_the_dask_scheduler_does_not_end_scaling`
scale_up_large_tasks, respect_average_nthreads      do not apply: of the Dask scheduler's ``adaptive_target``
adaptive_config, logs_stopping_once, adapt_stop_del do not apply: of `Adaptive` itself, which is distributed's
==================================================  ================================================================

Complaints of users of Dask's other deployments, and where they are tried:

==================================================  ================================================================
scaling down loses data (distributed 4069, 5577,
8522)                                               `test_scale_up_down_and_up_again_loses_nothing`,
                                                    `test_a_worker_whose_data_fits_nowhere_else_stays`
adapt flaps, or stops after preemption (distributed
4591, 6679, 3154; dask-jobqueue 190)                `test_adapt_grows_with_the_tasks_and_shrinks_when_they_are_done`,
                                                    `test_adapt_keeps_to_its_bounds_and_does_not_churn`,
                                                    `test_adapt_does_not_ask_for_one_worker_after_another_where_none_can_be`
                                                    `test_adapt_goes_on_when_all_workers_are_lost_at_once`,
                                                    `test_a_killed_worker_comes_back_with_and_without_adapt`
killed kernels leave pods (dask-gateway 393, 255,
260)                                                `test_a_kernel_that_is_killed_leaves_nothing_after_a_grace_time`,
                                                    `test_a_detached_cluster_outlives_its_kernel_and_is_had_again`
the side bar lacks credentials (dask-labextension
135)                                                `test_a_client_in_another_process_connects_by_the_address_alone`,
                                                    `test_the_new_button_of_dasks_side_bar`, `test_side_bar.py`
workers' logs vanish                                `test_logs_also_of_workers_that_have_ended`,
                                                    `test_a_worker_that_is_lost_for_good_is_replaced`
pending without a reason                            `test_pending_workers_say_why`
==================================================  ================================================================
"""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from t2notebook.dataflow.requirements import DataflowError
from t2notebook.model.errors import SubmitError
from tests.dataflow.conftest import SMALL, eventually, schedulers
from tests.dataflow.functions import square

distributed = pytest.importorskip("distributed")

Make = Callable[..., Any]


def test_an_ordinary_cluster(make: Make) -> None:
    with make(workers=2, name="ordinary") as cluster:
        with distributed.Client(cluster) as client:
            client.wait_for_workers(2, timeout=60)
            assert client.submit(sum, [1, 2]).result(timeout=30) == 3
            assert client.gather(client.map(square, range(10))) == [square(number) for number in range(10)]
            assert client.cluster is cluster
            info = client.scheduler_info()["workers"].values()
            assert {worker["name"] for worker in info} == {"0", "1"}
            assert {worker["nthreads"] for worker in info} == {1}
            assert {worker["memory_limit"] for worker in info} == {256 << 20}
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
        assert re.fullmatch(
            r"MesosCluster\('?ordinary'?, 'tls://127.0.0.1:\d+', workers=2, threads=2, memory=512.00 MiB\)",
            repr(cluster),
        )
        assert "MesosCluster" in cluster._repr_html_() and "ordinary" in cluster._repr_html_()
        assert cluster == cluster and cluster != make(name="another")
        assert cluster.plan == cluster.requested == cluster.observed == {"0", "1"}
        (job,) = cluster.jobs
        assert (job.name, list(job.tasks.state)) == ("ordinary", ["RUNNING", "RUNNING"])
        assert cluster.why().empty
    assert job.state.is_final
    assert cluster.status.name == "closed"
    cluster.close()  # once more does no harm
    with pytest.raises(DataflowError, match="is closed"):
        cluster.scale(1)


def test_used_from_an_event_loop(mesos: Any) -> None:
    async def main() -> None:
        async with (
            mesos.MesosCluster(workers=1, asynchronous=True, **SMALL) as cluster,
            distributed.Client(cluster, asynchronous=True) as client,
        ):
            assert await client.submit(square, 3) == 9
            await cluster.scale(2)
            await cluster
            assert len(cluster.workers) == 2
            await client.wait_for_workers(2, timeout=60)
            logs = await cluster.get_logs()
            assert {"Cluster", "Scheduler"} < set(logs)
        assert cluster.status.name == "closed"

    asyncio.run(main())


def test_closed_before_it_was_started(mesos: Any) -> None:
    async def main() -> None:
        cluster = mesos.MesosCluster(workers=1, asynchronous=True, **SMALL)
        with pytest.raises(TypeError, match="async with"), cluster:
            pass
        await cluster.close()
        assert cluster.status.name == "closed" and not cluster.jobs

    asyncio.run(main())


def test_threads_and_memory_follow_the_resources(make: Make) -> None:
    cluster = make(workers=1, cpu=2, ram="300MB")
    cluster.wait_for_workers(1, timeout=60)
    (worker,) = cluster.scheduler_info["workers"].values()
    assert (worker["nthreads"], worker["memory_limit"]) == (2, 300 << 20)
    cluster = make(workers=1, threads=3)
    cluster.wait_for_workers(1, timeout=60)
    assert [worker["nthreads"] for worker in cluster.scheduler_info["workers"].values()] == [3]


def test_logs_also_of_workers_that_have_ended(make: Make) -> None:
    cluster = make(workers=2)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        client.run(print, "hello from a worker")
        address = min(client.scheduler_info()["workers"])
        name = client.scheduler_info()["workers"][address]["name"]
        client.retire_workers(workers=[address])
        eventually(lambda: address not in cluster.scheduler_info["workers"])
        logs = cluster.get_logs()
        assert "hello from a worker" in logs[name]
        assert any("hello from a worker" in text for who, text in logs.items() if who.startswith("tls://"))
        assert "Register worker" in logs["Scheduler"]
        assert set(cluster.get_logs(cluster=False, scheduler=False, workers=[name])) == {name}
        assert set(cluster.get_logs(workers=False)) == {"Cluster", "Scheduler"}


def test_pending_workers_say_why(make: Make) -> None:
    cluster = make(workers=2, ram_mega_bytes=10_000_000)
    eventually(lambda: not cluster.why().empty)
    why = cluster.why()
    assert set(why.workers) == {"0, 1"} and "mem" in set(why.lacked)
    with pytest.raises(TimeoutError, match=r"0 of 1 workers have come after 0.2: .*mem"):
        eventually(lambda: "mem" in cluster.waiting_for)
        cluster.wait_for_workers(1, timeout=0.2)
    cluster.scale(0)
    eventually(lambda: cluster.jobs[0].state.is_final)


def test_names_of_many_pending_workers_are_shortened() -> None:
    from t2notebook.dataflow.pending_reasons import shortened

    assert shortened(["0", "1"]) == "0, 1"
    assert shortened([str(number) for number in range(200)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 192 more"


def test_workers_that_cannot_be_say_why_and_are_not_tried_for_ever(make: Make) -> None:
    cluster = make(workers=1, worker_options={"no_such_option": 1})
    with pytest.raises(DataflowError, match="no_such_option"):
        cluster.wait_for_workers(1, timeout=60)
    assert len(cluster.jobs) == 1
    assert "no_such_option" in cluster.get_logs(scheduler=False, workers=False)["Cluster"]


def test_another_version_on_an_agent_is_one_line(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from t2notebook.dataflow import worker_jobs as module

    monkeypatch.setattr(module, "versions", lambda: {"dask": "2999.1.0", "distributed": "2999.1.0"})
    with pytest.raises(DataflowError) as error:
        make(workers=1).wait_for_workers(1, timeout=60)
    assert re.search(r"has dask \S+, the notebook's has 2999.1.0: install the same on both", str(error.value))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"workers": -1}, "workers is -1"),
        ({"workers": 1.5}, "workers is 1.5"),
        ({"cpu": 0}, "cpu is 0"),
        ({"ram": "much"}, "ram"),
        ({"threads": 0}, "threads is 0"),
        ({"on_exit": "stay"}, "on_exit is 'stay'"),
        ({"where": "rack"}, "'rack' is no constraint"),
        ({"image": "no image"}, "image is 'no image'; give the name of a container image"),
        ({"preload": "no module"}, "preload"),
        ({"workers_per_executor": 0}, "workers_per_executor"),
        ({"max_worker_restarts": -1}, "max_worker_restarts"),
    ],
)
def test_bad_arguments_are_one_line_and_start_nothing(
    make: Make, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises((SubmitError, DataflowError), match=re.escape(text)) as error:
        make(**{**SMALL, **arguments})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("which", ["worker_options", "scheduler_options"])
def test_options_that_cannot_be_taken_along_are_one_line(make: Make, which: str) -> None:
    import threading

    with pytest.raises(SubmitError, match=f"{which} cannot be taken along: TypeError: .*lock") as error:
        make(**{which: {"plugins": (threading.Lock(),)}})
    assert "\n" not in str(error.value)


def test_options_may_be_any_objects_and_settings_what_json_has_not(make: Make) -> None:
    import dask

    class Marking(distributed.WorkerPlugin):
        name = "marking"

        def setup(self, worker: Any) -> None:
            worker.mark = square(3)

    class Counting(distributed.SchedulerPlugin):
        name = "counting"

    options = {"plugins": (Marking(),), "resources": {"slots": 2}}
    with dask.config.set({"scheduler": dask.get, "array.set": {1, 2}}):
        cluster = make(workers=1, worker_options=options, scheduler_options={"plugins": (Counting(),)})
    with distributed.Client(cluster) as client:
        assert client.submit(square, 4, resources={"slots": 2}).result(timeout=60) == 16
        assert list(client.run(lambda dask_worker: dask_worker.mark).values()) == [9]
        assert client.run_on_scheduler(
            lambda dask_scheduler: {"counting", "t2-outgrown"} <= {*dask_scheduler.plugins}
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", "a/b", "two\nlines", "x" * 300, "größer"])
def test_odd_names_make_a_cluster_or_are_one_line_and_leave_nothing(make: Make, name: str) -> None:
    try:
        cluster = make(workers=1, name=name)
    except (SubmitError, DataflowError) as error:
        assert "\n" not in str(error)
        assert not schedulers()
    else:
        cluster.wait_for_workers(1, timeout=60)


def test_an_unknown_argument_of_dasks_scheduler_is_told(make: Make) -> None:
    with pytest.raises(DataflowError, match=r"did not start: .*no_such"):
        make(scheduler_options={"no_such": 1})


@pytest.mark.parametrize("missing", ["dask", "distributed", "cryptography"])
def test_a_missing_library_names_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    from t2notebook.dataflow import requirements

    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == missing:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(DataflowError) as error:
        requirements.need()
    assert str(error.value).endswith(
        f'needs {missing}, which is not installed: pip install "t2notebook[dataflow]"'
    )


def test_an_old_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    from t2notebook.dataflow import requirements

    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2024.3.1")
    with pytest.raises(DataflowError, match=r"needs dask \S+ or later, and this is 2024.3.1"):
        requirements.need("dask")


def test_dashboard(make: Make) -> None:
    import urllib.request

    pytest.importorskip("bokeh")
    cluster = make(dashboard_address=":0")
    assert re.fullmatch(r"http://127.0.0.1:\d+/status", cluster.dashboard_link)

    def page() -> str:
        try:
            with urllib.request.urlopen(cluster.dashboard_link, timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    eventually(lambda: "Dask" in page(), timeout=30)
    assert make().dashboard_link == ""


def test_cluster_info_is_told_to_all_clients(make: Make) -> None:
    cluster = make(name="informed", scheduler_sync_interval=0.1)
    with distributed.Client(cluster.scheduler_address, security=cluster.security) as client:
        get = client.scheduler.get_metadata
        eventually(
            lambda: client.sync(get, keys=["cluster-manager-info"], default={}).get("name") == "informed"
        )


def test_no_key_lies_in_a_file_an_environment_or_a_command_line(make: Make, home: Path) -> None:
    import os
    import tempfile

    def keys_in_temporary_directories() -> set[str]:
        # os.walk passes over what others remove meanwhile
        return {place for place, _, names in os.walk(tempfile.gettempdir()) if "dask.pem" in names}

    before = keys_in_temporary_directories()
    cluster = make(workers=2)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        client.submit(square, 2).result(timeout=30)
        keys = cluster._scheduler.keys
        parts = [text.split("\n")[2].encode() for name, text in keys.items() if name.endswith("_key")]
        assert len(parts) == 3
        session = cluster.jobs[0]
        places = {Path(path).parents[4] for path in client.run(os.getcwd).values()} | {home}
        looked = 0
        for place in places:
            for path in (Path(at) / name for at, _, names in os.walk(place) for name in names):
                try:
                    if path.is_file() and not path.is_symlink():
                        data = path.read_bytes()
                        looked += 1
                        assert not any(part in data for part in parts), path
                except OSError:
                    continue
        assert looked > 10
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                for name in ("cmdline", "environ"):
                    try:
                        data = (entry / name).read_bytes()
                    except OSError:
                        continue
                    assert not any(part in data for part in parts), (entry, name)
        assert keys_in_temporary_directories() <= before
        master = mesos_state(session)
        assert not any(part.decode() in master for part in parts)


def mesos_state(job: Any) -> str:
    """Return what the master and an agent tell everybody."""
    import json
    import urllib.request

    master = json.loads(
        (Path(__import__("os").environ["JUPYTER_RUNTIME_DIR"]) / "t2notebook/localmesos.json").read_text()
    )
    address = master["master"]
    found = []
    with urllib.request.urlopen(f"http://{address}/state", timeout=10) as answer:
        found.append(answer.read().decode())
    state = json.loads(found[0])
    for agent in state["slaves"]:
        host = agent["pid"].partition("@")[2]
        with urllib.request.urlopen(f"http://{host}/state", timeout=10) as answer:
            found.append(answer.read().decode())
    return "".join(found)


def test_who_has_no_certificate_of_the_cluster_is_refused(make: Make) -> None:
    from t2notebook.dataflow import certificates
    from t2notebook.dataflow.agent.tls import MemorySecurity

    cluster = make()
    foreign = MemorySecurity.of(certificates.make())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(OSError):
            distributed.Client(cluster.scheduler_address, security=foreign, timeout=2)
        with pytest.raises((OSError, TypeError)):
            distributed.Client(cluster.scheduler_address.replace("tls", "tcp"), timeout=2)


def test_without_tls(make: Make) -> None:
    cluster = make(workers=1, security=False)
    assert cluster.scheduler_address.startswith("tcp://")
    with distributed.Client(cluster) as client:
        assert client.submit(square, 4).result(timeout=60) == 16
