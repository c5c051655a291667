"""The resource form and the cluster's view in a real browser: they follow, submit, and say when they are not live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.notebook.helpers import t2lab
from tests.server.test_lab import CELLS, click, lab, pytestmark, texts, violations

__all__ = ["pytestmark"]

SUBMIT = "%%twister2 submit --name train --workers 2 --cpus 1 --ram 64 -o job\nimport time\ntime.sleep(300)"


def look_at(driver: Any, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)


@pytest.mark.slow
@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_form_and_the_cluster(tmp_path: Path, app: str) -> None:
    if app == "notebook":
        pytest.importorskip("notebook")
    with lab(tmp_path, CELLS[0], SUBMIT, "%twister2 resources", "%twister2 cluster", app=app) as (driver, _):
        for cell in range(4):
            t2lab.run_cell(driver, cell)
        t2lab.wait_for(lambda: "Fits now: 6 workers" in "".join(texts(driver, ".t2-fits")), 60, "no forecast")
        t2lab.wait_for(lambda: "2 running" in "".join(texts(driver, ".t2-counts-list")), 20, "no cluster")
        # what stands below them for others is not seen
        assert texts(driver, ".t2-formkept, .t2-clusterkept") == []
        driver.execute_script("""
            const slider = document.querySelector(".t2-range");
            slider.value = 8;
            slider.dispatchEvent(new Event("input"));
        """)
        line = "%%twister2 submit --workers 8 --cpus 1 --ram 64 --name train -o job"
        t2lab.wait_for(lambda: texts(driver, ".t2-form-line") == [line], 20, "the line does not follow")
        t2lab.wait_for(lambda: "6 start at once" in "".join(texts(driver, ".t2-plan")), 20, "no plan")
        # the end is what the cluster has; a larger number in the box moves it
        end = "return document.querySelector('.t2-range').max"
        assert driver.execute_script(end) == "8"
        driver.execute_script("""
            const box = document.querySelector(".t2-number-box");
            box.value = 20;
            box.dispatchEvent(new Event("input"));
        """)
        assert driver.execute_script(end) == "20"
        t2lab.wait_for(
            lambda: "never more than 8 run" in "".join(texts(driver, ".t2-plan")), 20, "not too many"
        )
        driver.execute_script("""
            const box = document.querySelector(".t2-number-box");
            box.value = 3;
            box.dispatchEvent(new Event("input"));
        """)
        t2lab.wait_for(
            lambda: "--workers 3" in texts(driver, ".t2-form-line")[0], 20, "the line does not follow"
        )
        assert violations(driver, ".t2-form") == [] and violations(driver, ".t2-cluster") == []
        click(driver, ".t2-submit")
        t2lab.wait_for(lambda: len(texts(driver, ".t2-chip")) == 2, 30, "it is not submitted")
        look_at(driver, ".t2-cluster")  # what nobody sees is not asked for
        t2lab.wait_for(lambda: "5 running" in "".join(texts(driver, ".t2-counts-list")), 20, "not followed")
        driver.execute_script("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        trouble = ".t2-cluster .t2-cluster-trouble", ".t2-form:not(.t2-cluster) .t2-cluster-trouble"
        for view, selector in zip((".t2-cluster", ".t2-form:not(.t2-cluster)"), trouble, strict=True):
            look_at(driver, view)
            t2lab.wait_for(lambda: "Not live" in "".join(texts(driver, selector)), 40, "it looks live")  # noqa: B023
