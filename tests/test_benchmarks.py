"""The benchmarks run: small ones, so that a change of what they measure does not leave them behind."""

from __future__ import annotations

import pytest

from benchmarks import cases, mesos, scheduler, session


@pytest.mark.slow
def test_a_small_pass_of_the_matching(capsys: pytest.CaptureFixture[str]) -> None:
    scheduler.main(["--offers", "20", "--workers", "200", "--repeat", "1"])
    told = capsys.readouterr().out
    assert all(case in told for case in scheduler.CASES)


def test_a_small_master() -> None:
    assert mesos.master_seconds(agents=20, frameworks=30) > 0


def test_the_others_find_what_they_name() -> None:
    assert cases.CASES and callable(session.main)


def test_dask_on_mesos_is_measured_beside_a_local_cluster() -> None:
    from benchmarks import dask

    assert set(dask.CASES) == {"local", "local_secured", "processes", "mesos"} and dask.increment(1) == 2


def test_a_result_is_measured_beside_a_plain_socket() -> None:
    from benchmarks import results

    figures = results.measure((2,), 1)
    assert figures["2 MB, result / plain, speed"] > 0


def test_looks_at_workers_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import workers

    monkeypatch.setattr(workers, "WORKERS", 2)
    monkeypatch.setattr(workers, "ROUNDS", 2)
    monkeypatch.setattr(workers, "WORK", 0.1)
    monkeypatch.setattr(workers, "TURNS", 1)
    assert 0 < workers.sampling() < 1
    assert -1 < workers.profiling() < 10
