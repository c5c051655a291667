"""Clusters where people look for them: Dask's configuration, its side bar, joblib, and its collections unchanged."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.dataflow.conftest import SMALL
from tests.dataflow.functions import square

distributed = pytest.importorskip("distributed")

Make = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "etc" / "dask" / "t2notebook.yaml"


def test_what_is_installed_for_dask_names_what_there_is() -> None:
    import yaml
    from dask.utils import import_required
    from distributed.utils import import_term

    import t2notebook

    assert import_required("yaml", "") is yaml
    record = yaml.safe_load(CONFIGURATION.read_text())
    factory = record["labextension"]["factory"]
    assert factory["module"] == "t2notebook"
    assert getattr(t2notebook, factory["class"]) is t2notebook.MesosCluster
    assert callable(import_term(record["distributed"]["client"]["security-loader"]))


def test_the_file_is_installed_where_dask_looks() -> None:
    import importlib.metadata

    files = importlib.metadata.files("t2notebook") or []
    assert any(str(path).endswith("etc/dask/t2notebook.yaml") for path in files)


@pytest.fixture
def configured() -> Any:
    """Dask's configuration as it is where the package is installed."""
    import dask
    import yaml

    with dask.config.set({}):
        before = dict(dask.config.config)
        dask.config.update(dask.config.config, yaml.safe_load(CONFIGURATION.read_text()), priority="new")
        yield dask.config
        dask.config.config.clear()
        dask.config.config.update(before)


def test_a_client_in_another_process_connects_by_the_address_alone(make: Make) -> None:
    cluster = make(workers=1)
    code = f"""
        import dask, yaml
        from distributed import Client
        from tests.dataflow.functions import square
        record = yaml.safe_load(open({str(CONFIGURATION)!r}))
        dask.config.update(dask.config.config, record, priority="new")
        if __name__ == "__main__":
            with Client({cluster.scheduler_address!r}) as client:
                print(client.submit(square, 9).result(timeout=60))
    """
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT, timeout=100
    )
    assert answer.stdout.strip() == "81", answer.stderr


def test_the_loader_knows_only_this_users_clusters(make: Make) -> None:
    from t2notebook.dataflow.discovery import security_loader

    cluster = make()
    found = security_loader({"address": cluster.scheduler_address})
    assert found.tls_client_key and not found.tls_scheduler_key and not found.tls_worker_key
    assert security_loader({"address": "tls://127.0.0.1:1"}) is None
    assert security_loader({"address": "tcp://127.0.0.1:1"}) is None
    assert security_loader({}) is None


def test_the_new_button_of_dasks_side_bar(mesos: Any, configured: Any) -> None:
    async def main() -> None:
        # It makes a Future when it is imported, and so wants a running loop.
        manager = pytest.importorskip("dask_labextension.manager")
        with configured.set({"labextension.factory.kwargs": SMALL, "labextension.default.workers": 1}):
            async with manager.DaskClusterManager() as clusters:
                model = await clusters.start_cluster()
                address = model["scheduler_address"]
                assert address.startswith("tls://") and model["name"].startswith("MesosCluster")
                async with distributed.Client(address, asynchronous=True) as client:
                    assert await client.submit(square, 8) == 64
                    model = await clusters.scale_cluster(model["id"], 2)
                    await client.wait_for_workers(2, timeout=60)
                await clusters.close_cluster(model["id"])
                assert clusters.list_clusters() == []

    asyncio.run(main())


def test_joblibs_backend(make: Make) -> None:
    joblib = pytest.importorskip("joblib")
    cluster = make(workers=2)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        with joblib.parallel_config(backend="dask"):
            found = joblib.Parallel()(joblib.delayed(square)(number) for number in range(20))
        assert found == [square(number) for number in range(20)]


def test_arrays_frames_bags_and_delayed_functions(make: Make) -> None:
    dask = pytest.importorskip("dask")
    array = pytest.importorskip("dask.array")
    bag = pytest.importorskip("dask.bag")
    pytest.importorskip("pyarrow")
    frame = pytest.importorskip("dask.dataframe")
    import pandas as pd

    cluster = make(workers=2, ram_mega_bytes=512)
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        assert float(array.ones((400, 400), chunks=100).sum().compute()) == 160_000
        words = bag.from_sequence(["a", "b", "a", "c"], npartitions=2)
        assert dict(words.frequencies().compute()) == {"a": 2, "b": 1, "c": 1}
        table = pd.DataFrame({"key": list("abab") * 50, "value": range(200)})
        means = frame.from_pandas(table, npartitions=4).groupby("key").value.mean().compute()
        assert means.to_dict() == table.groupby("key").value.mean().to_dict()
        total = dask.delayed(sum)([dask.delayed(square)(number) for number in range(5)])
        assert total.compute() == 30


def test_modules_beside_the_notebook_travel(t2: Any, home: Path, tmp_path: Path) -> None:
    (tmp_path / "helper_beside.py").write_text("import part\n\ndef triple(x):\n    return part.times(3, x)\n")
    package = tmp_path / "part"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import times\n")
    (package / "inner.py").write_text("def times(a, b):\n    return a * b\n")
    (tmp_path / "main.py").write_text(
        textwrap.dedent(
            f"""
            import logging
            logging.getLogger("distributed").setLevel(logging.ERROR)
            import t2notebook as t2
            from distributed import Client
            import helper_beside

            def here(x):
                return helper_beside.triple(x) + 1

            if __name__ == "__main__":
                with t2.MesosCluster(workers=1, **{SMALL!r}) as cluster, Client(cluster) as client:
                    print(client.submit(helper_beside.triple, 5).result(timeout=60))
                    print(client.submit(here, 5).result(timeout=60))
            """
        )
    )
    answer = subprocess.run(
        [sys.executable, "main.py"], capture_output=True, text=True, cwd=tmp_path, timeout=110
    )
    assert answer.stdout.split() == ["15", "16"], answer.stderr


def test_the_setup_runs_first_in_dasks_workers(make: Make, mesos: Any) -> None:
    import os

    def first() -> None:
        import os

        os.environ["T2_TEST_SETUP"] = "was here"

    mesos.setup(first)
    try:
        cluster = make(workers=1)
        with distributed.Client(cluster) as client:
            assert client.submit(os.getenv, "T2_TEST_SETUP").result(timeout=60) == "was here"
    finally:
        mesos.setup(None)
