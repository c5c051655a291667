from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2notebook import ComputeResource, SubmitError, Twister2Job
from t2notebook.model.job import JOB_ID_PATTERN, FaultTolerance, JobSpec, Placement, make_job_id
from t2notebook.protocol.launch import WorkerLaunch, decode_status_data, encode_status_data


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cpu": 0}, "cpu is 0; a worker needs more than 0 (--cpus)"),
        ({"cpu": -1}, "cpu is -1; a worker needs more than 0 (--cpus)"),
        ({"cpu": 0.0001}, "cpu is 0.0001; Mesos counts in thousandths, so ask for 0.001 or more"),
        ({"cpu": "two"}, "cpu is 'two'; give a number"),
        ({"cpu": math.nan}, "cpu is nan; give a number"),
        ({"ram_mega_bytes": 0}, "ram_mega_bytes is 0; a worker needs more than 0 (--ram)"),
        ({"disk_giga_bytes": -1}, "disk_giga_bytes is -1; it cannot be negative"),
        ({"instances": 0}, "instances is 0; give a whole number from 1"),
        ({"instances": 1.5}, "instances is 1.5; give a whole number from 1"),
        ({"workers_per_executor": 0}, 'workers_per_executor is 0; give a whole number from 1 or "max"'),
        ({"gpus": True}, "gpus is True; give a whole number from 0"),
        *(
            (
                {"image": name},
                f"image is {name!r}; give the name of a container image, such as 'python:3.12-slim' or "
                "'registry:5000/team/image:tag' (--image)",
            )
            for name in ("a b", "-v", "x;y", "x:", "$(x)", "a\n", 7, "x" * 501)
        ),
    ],
)
def test_resources_that_cannot_be(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SubmitError, match=f"^{re.escape(message)}$"):
        ComputeResource(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": " "}, "a job needs a name, for example name='pi'"),
        ({"worker": 3}, "worker is an int, not callable; give a function that takes env"),
        ({"resources": []}, "a job needs at least one ComputeResource"),
        ({"resources": [1]}, "resources holds an int; give ComputeResource objects"),
        ({"config": 3}, "config is an int; give a dict"),
    ],
)
def test_jobs_that_cannot_be(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SubmitError, match=f"^{re.escape(message)}$"):
        Twister2Job(**{"name": "pi", "worker": print, **fields})  # type: ignore[arg-type]


def test_workers_are_the_sum_of_instances() -> None:
    small, large = ComputeResource(cpu=0.5, instances=2), ComputeResource(cpu=2, instances=3)
    job = Twister2Job("pi", print, [small, large])
    assert job.number_of_workers == 5
    spec = JobSpec("pi", "ada", tuple(job.resources), "0" * 64, 10, "3.11")
    assert [spec.resource_of(worker) for worker in range(5)] == [small, small, large, large, large]
    with pytest.raises(IndexError):
        spec.resource_of(5)
    assert JobSpec.from_dict({**spec.to_dict(), "of_a_newer_version": 1}) == spec


def test_placement_and_faults_travel_with_the_job() -> None:
    spec = JobSpec(
        "pi",
        "ada",
        (ComputeResource(),),
        "0" * 64,
        10,
        "3.11",
        placement=Placement(nodes=("h1", "h2"), where="rack=r1", gang=True),
        faults=FaultTolerance(max_worker_restarts=0, unreachable_timeout=0),
    )
    assert JobSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    "fields", [{"max_worker_restarts": -1}, {"launch_timeout": 0}, {"unreachable_timeout": -1}]
)
def test_fault_tolerance_that_cannot_be(fields: dict[str, float]) -> None:
    with pytest.raises(SubmitError, match=next(iter(fields))):
        FaultTolerance(**fields)  # type: ignore[arg-type]


@given(st.text(), st.text(), st.integers(1546290000000, 4_000_000_000_000))
def test_job_ids_have_twister2s_form(name: str, user: str, now: int) -> None:
    job_id = make_job_id(name, user=user, now_ms=now)
    assert len(job_id) <= 49
    assert JOB_ID_PATTERN.fullmatch(job_id)


def test_a_job_id_tells_user_name_and_time() -> None:
    assert (
        make_job_id("K-Means, digits!", user="Ada.Lovelace", now_ms=1546290000000 + 36**4)
        == "ada-lovel-k-means-digits-10000"
    )


def test_a_launch_round_trips_and_hides_nothing_but_from_its_repr() -> None:
    launch = WorkerLaunch("j", 1, 0, 4, "ab" * 32, "http://h:1", "0" * 64, 10, "3.11", 1.0, 64.0)
    assert WorkerLaunch.decode(launch.encode()) == launch
    with_ports = replace(launch, ports=(31000, 31001))
    assert WorkerLaunch.decode(with_ports.encode()) == with_ports


def test_status_data_round_trips_and_foreign_data_is_empty() -> None:
    assert decode_status_data(encode_status_data(-9)) == {"exit_code": -9}
    assert decode_status_data("bm8=") == {}
    assert decode_status_data(None) == {}
