"""Dask's own side bar in a real JupyterLab: its New button makes a cluster that a notebook's client connects to."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from t2notebook.dataflow import scheduler_main
from tests.notebook.helpers import t2lab
from tests.server.test_lab import click, lab, texts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(not os.path.exists(t2lab.CHROMIUM), reason="chromium is not installed"),
    pytest.mark.skipif(not os.path.exists(t2lab.DRIVER), reason="chromium-driver is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("selenium") is None, reason="selenium is not installed"),
    pytest.mark.skipif(
        importlib.util.find_spec("dask_labextension") is None, reason="dask-labextension is not installed"
    ),
]

COMPUTE = 'print("squares", client.gather(client.map(lambda number: number**2, range(4))))'
ITEM = ".dask-ClusterListingItem"


def source_of_the_active_cell(driver: Any) -> str:
    script = "return window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.getSource()"
    return str(driver.execute_script(script))


def schedulers(folder: Path) -> list[int]:
    """Return the Dask schedulers that a server of this folder has started."""
    marker = f"JUPYTER_RUNTIME_DIR={folder / 'JUPYTER_RUNTIME_DIR'}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (entry / "comm").read_text().strip() == scheduler_main.NAME and marker in (
                entry / "environ"
            ).read_bytes():
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def test_a_click_on_new_makes_a_cluster_that_a_client_connects_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_LABEXTENSION__FACTORY__KWARGS", "{'cpu': 0.5, 'ram_mega_bytes': 256}")
    monkeypatch.setenv("DASK_LABEXTENSION__DEFAULT__WORKERS", "2")
    with lab(tmp_path, COMPUTE) as (driver, _):
        driver.execute_script("window.jupyterapp.shell.activateById('dask-dashboard-launcher')")
        new = ".dask-DaskClusterManager [title='Start New Dask Cluster']"
        t2lab.wait_for(lambda: texts(driver, new), 60, "Dask's side bar has no New button")
        click(driver, new)
        t2lab.wait_for(lambda: texts(driver, ITEM), 90, "no cluster comes")
        (told,) = texts(driver, ITEM)
        assert "MesosCluster" in told and "tls://127.0.0.1:" in told
        t2lab.wait_for(
            lambda: "Number of Workers: 2" in " ".join(texts(driver, ITEM)), 60, "the workers do not come"
        )
        # its code goes into the notebook as it is, with the address alone
        click(driver, f"{ITEM}-code")
        t2lab.wait_for(lambda: "tls://" in source_of_the_active_cell(driver), 20, "no code comes")
        t2lab.command(driver, "notebook:run-cell")
        driver.execute_script("""
            const cells = window.jupyterapp.shell.currentWidget.content;
            cells.activeCellIndex = cells.widgets.findIndex(
                cell => cell.model.sharedModel.getSource().includes("squares"));
        """)
        t2lab.command(driver, "notebook:run-cell")
        t2lab.wait_for(
            lambda: "squares [0, 1, 4, 9]" in " ".join(texts(driver, ".jp-OutputArea-output")),
            60,
            "the client computes nothing",
        )
        assert len(schedulers(tmp_path)) == 1
        click(driver, f"{ITEM}-stop")
        t2lab.wait_for(lambda: not texts(driver, ITEM), 60, "the cluster stays")
        t2lab.wait_for(lambda: not schedulers(tmp_path), 30, "its scheduler stays")
