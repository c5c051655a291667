"""The view of a job in a real page: rows that exist in sight only, the keyboard, and what axe finds."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import t2lab
import t2page

from tests.views.test_words import all_words

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists(t2lab.CHROMIUM), reason="chromium is not installed"),
    pytest.mark.skipif(not os.path.exists(t2lab.DRIVER), reason="chromium-driver is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("selenium") is None, reason="selenium is not installed"),
]

AXE = Path(__file__).resolve().parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    folder = tmp_path_factory.mktemp("page")
    with t2page.served(folder) as address, t2lab.browser(folder, width=1100) as driver:
        driver.set_script_timeout(60)
        yield driver, address


def texts(driver: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(node => node.textContent)"
    return list(driver.execute_script(script, selector))


def click(driver: Any, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def tab(driver: Any, title: str) -> None:
    script = "[...document.querySelectorAll('.t2-tab')].find(tab => tab.textContent.startsWith(arguments[0])).click()"
    driver.execute_script(script, title)


def press(driver: Any, key: str) -> None:
    from selenium.webdriver.common.keys import Keys

    driver.switch_to.active_element.send_keys(getattr(Keys, key))


def ids(driver: Any) -> list[int]:
    return [int(text) for text in texts(driver, ".t2-row .t2-col-worker_id")]


def seen(driver: Any) -> list[int]:
    """Return the workers whose rows are in sight."""
    script = """
        const box = document.querySelector(".t2-scroll").getBoundingClientRect();
        return [...document.querySelectorAll(".t2-row")]
            .map(row => [row, row.getBoundingClientRect()])
            .filter(([, place]) => place.bottom > box.top + 29 && place.top < box.bottom)
            .map(([row]) => Number(row.querySelector(".t2-open").textContent));
    """
    return list(driver.execute_script(script))


def violations(driver: Any) -> list[str]:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make labextension")
    driver.execute_script(AXE.read_text())
    script = """
        const done = arguments[arguments.length - 1];
        axe.run(document.querySelector(".t2-job"), {resultTypes: ["violations"]}).then(
            found => done(found.violations.map(one => `${one.id}: ${one.nodes.map(n => n.html).join(" ")}`)),
            error => done([String(error)]));
    """
    return list(driver.execute_async_script(script))


def test_of_a_thousand_rows_those_in_sight_exist_and_the_troubled_come_first(page: tuple[Any, str]) -> None:
    driver, address = page
    t2page.show(driver, address, t2page.content_of(t2page.made_job(1000, agents=40, fails=3)))
    assert len(ids(driver)) < 40 and ids(driver)[:4] == [2, 5, 8, 0]
    driver.execute_script("document.querySelector('.t2-scroll').scrollTop = 500 * 27")
    t2lab.wait_for(lambda: 500 in seen(driver), 10, "the rows do not follow")
    rows = ids(driver)
    assert len(rows) < 40 and rows == sorted(rows), "they stand in the page as they are seen"
    # an update leaves the place as it is
    content = t2page.content_of(t2page.made_job(1000, agents=40, fails=3, step=5))
    driver.execute_script("window.feed(arguments[0])", content)
    assert driver.execute_script("return document.querySelector('.t2-scroll').scrollTop") == 500 * 27
    assert 500 in seen(driver)


def test_the_catalogue_of_the_page_gives_the_words(page: tuple[Any, str]) -> None:
    driver, address = page
    driver.get(f"{address}/light.html")
    t2lab.wait_for(
        lambda: driver.execute_script("return window.isReady === true"), 20, "the page is not there"
    )
    script = """
        const filled = (text, values) => `«${text.replace(/%(\\d)/g, (_, at) => values[at - 1])}»`;
        window.trans = {
            __: (text, ...values) => filled(text, values),
            _n: (one, many, count, ...values) => filled(count === 1 ? one : many, [count, ...values]),
        };
        window.begin(arguments[0]);
    """
    driver.execute_script(script, t2page.content_of(t2page.made_job(12, agents=3, fails=2)))
    click(driver, ".t2-action:nth-child(2)")
    for title in ("«Timeline", "«Agents", "«Workers"):
        tab(driver, title)
    script = """
        const textOf = node => [...node.childNodes].filter(one => one.nodeType === 3).map(one => one.textContent);
        return [...document.querySelectorAll(".t2-job, .t2-job *")]
            .flatMap(node => [node.title, node.getAttribute("aria-label"), ...textOf(node)]).filter(Boolean);
    """
    said = {str(text).strip() for text in driver.execute_script(script)}
    assert {"«Kill»", "«Timeline»", "«Workers (12)»", "«Why»", "«Asking…»", "«Memory of worker 3»"} <= said
    # The names of states are the data's.
    own = [text for pair in all_words() for text in pair.split(" | ") if not text.islower() or " " in text]
    own = [text for text in own if re.search("[A-Za-z]{3}", text)]
    patterns = [re.sub(r"%\d", ".+", re.escape(text)) for text in own]
    plain = [re.sub("«.*»", "", text) for text in said]
    assert [text for text in plain if any(re.fullmatch(pattern, text) for pattern in patterns)] == []


def test_a_heading_sorts(page: tuple[Any, str]) -> None:
    driver, address = page
    content = t2page.content_of(t2page.made_job(30, agents=12))
    t2page.show(driver, address, content)
    click(driver, ".t2-head .t2-col-agent button")
    agents = texts(driver, ".t2-row .t2-col-agent")
    assert agents[0] == "node-1" and agents.index("node-2") < agents.index("node-3")
    assert texts(driver, "[aria-sort=ascending]") == ["Agent"]
    click(driver, ".t2-head .t2-col-progress button")
    click(driver, ".t2-head .t2-col-progress button")
    percents = [int(text.split()[0]) for text in texts(driver, ".t2-row .t2-col-progress .t2-percent")]
    assert percents == sorted(percents, reverse=True) and texts(driver, "[aria-sort=descending]") == [
        "Progress"
    ]
    click(driver, ".t2-head .t2-col-progress button")
    assert ids(driver)[0] == 0 and not texts(driver, "[aria-sort=descending]")


def test_the_keyboard_reaches_every_row_and_opens_its_log(page: tuple[Any, str]) -> None:
    driver, address = page
    t2page.show(driver, address, t2page.content_of(t2page.made_job(1000, agents=40)))
    driver.execute_script("document.querySelector('.t2-row .t2-open').focus()")
    press(driver, "END")
    assert driver.switch_to.active_element.text == "999" and 999 in seen(driver)
    press(driver, "ARROW_UP")
    press(driver, "PAGE_UP")
    assert driver.switch_to.active_element.text == "987"
    press(driver, "ENTER")
    assert texts(driver, ".t2-output-title") == ["Output of worker 987"]
    assert driver.execute_script("return window.sent.at(-1)") == {"kind": "open", "worker_id": 987}
    # an update does not take the focus away
    content = t2page.content_of(t2page.made_job(1000, agents=40, step=3))
    driver.execute_script("window.feed(arguments[0])", content)
    assert driver.switch_to.active_element.text == "987"
    # and goes with its row when that stands elsewhere
    click(driver, ".t2-head .t2-col-progress button")
    driver.execute_script("document.querySelector('.t2-row .t2-open').focus()")
    press(driver, "ARROW_DOWN")
    worker = driver.switch_to.active_element.text
    content["table"]["progress"][int(worker)] = 0.99
    driver.execute_script("window.feed(arguments[0])", {"table": content["table"]})
    assert driver.switch_to.active_element.text == worker and int(worker) in seen(driver)
    tab(driver, "Timeline")
    driver.execute_script("document.querySelector('.t2-lane .t2-open').focus()")
    press(driver, "ARROW_DOWN")
    assert driver.switch_to.active_element.text == texts(driver, ".t2-lane .t2-open")[1]


def test_a_job_of_which_little_is_known_is_shown(page: tuple[Any, str]) -> None:
    driver, address = page
    driver.get_log("browser")
    content = t2page.content_of(t2page.made_job(1, waits=1))
    t2page.show(driver, address, {"snapshot": content["snapshot"]})
    assert texts(driver, ".t2-chip") == ["PENDING"] and not ids(driver)
    driver.execute_script(
        "window.feed(arguments[0])", {"table": {}, "grid": {}, "agents": [], "output": {}, "log": {}}
    )
    assert not ids(driver)
    driver.execute_script("window.feed(arguments[0])", content)
    assert ids(driver) == [0] and [text for text in texts(driver, ".t2-tab:not([hidden])")] == [
        "Workers (1)",
        "Timeline",
    ]
    driver.execute_script("window.leave()")
    assert not texts(driver, ".t2-job")
    severe = [one for one in driver.get_log("browser") if one["level"] == "SEVERE"]
    assert not [one for one in severe if "favicon" not in one["message"]]


def test_who_tells_of_a_job_that_goes_on_is_said_and_not_of_one_that_has_ended(page: tuple[Any, str]) -> None:
    driver, address = page
    content = t2page.content_of(t2page.made_job(4))
    t2page.show(driver, address, {**content, "beside": "t2-0123456789ab", "via": "server"})
    note = "return document.querySelector('.t2-gone').checkVisibility()"
    assert driver.execute_script(note) and "%twister2 attach ada-train-0001" in texts(driver, ".t2-gone")[0]
    ended = t2page.content_of(t2page.made_job(4, fails=1, ends=True))
    driver.execute_script("window.feed(arguments[0])", ended)
    assert texts(driver, ".t2-chip") == ["FAILED"] and not driver.execute_script(note)


def test_the_timeline_has_a_bar_a_worker_with_its_phases(page: tuple[Any, str]) -> None:
    driver, address = page
    t2page.show(driver, address, t2page.content_of(t2page.made_job(8, fails=1, waits=1)))
    tab(driver, "Timeline")
    labels = driver.execute_script(
        "return [...document.querySelectorAll('.t2-lane-track')].map(node => node.getAttribute('aria-label'))"
    )
    assert len(labels) == 8
    assert labels[2].startswith("Worker 2, failed: waited ") and ", ran 1" in labels[2]
    assert labels[5].count("waited") == 2 and labels[5].count("ran") == 1, (
        "a task that was lost, and the next"
    )
    assert labels[7].startswith("Worker 7, pending: waits since 20 s")
    kinds = """
        return [...document.querySelectorAll(".t2-lane")].map(lane =>
            [...lane.querySelectorAll(".t2-phase:not([hidden])")].map(bar => bar.dataset.kind))
    """
    assert driver.execute_script(kinds)[0] == ["waiting", "starting", "running"]


def test_fifty_thousand_workers_are_summed_by_agent(page: tuple[Any, str]) -> None:
    driver, address = page
    t2page.show(driver, address, t2page.content_of(t2page.made_job(50_000, agents=2500, fails=5, waits=500)))
    assert texts(driver, ".t2-tab[aria-selected=true]") == ["Agents (2,500)"]
    assert texts(driver, ".t2-by-agent .t2-row .t2-col-name")[0] == "node-3"
    assert texts(driver, ".t2-by-agent .t2-row .t2-col-states")[0] == "1 failed, 19 running"
    assert "500 workers on no agent yet" in texts(driver, ".t2-by-agent")[0]
    assert driver.execute_script("return document.querySelectorAll('.t2-job *').length") < 900
    tab(driver, "Workers")
    assert len(ids(driver)) < 40 and "of 50,000 workers" in texts(driver, ".t2-job")[0]
    assert violations(driver) == []


def test_failures_are_folded_and_stay_open_where_they_were_opened(page: tuple[Any, str]) -> None:
    driver, address = page
    content = t2page.content_of(t2page.made_job(12, fails=2, ends=True))
    t2page.show(driver, address, content)
    assert texts(driver, ".t2-failure-last") == ["ValueError: negative dimensions are not allowed"]
    assert driver.execute_script("return document.querySelector('.t2-failure').open") is False
    click(driver, ".t2-failure summary")
    (one,) = content["snapshot"]["failures"]
    content["snapshot"]["failures"] = [
        one,
        {**one, "title": "Traceback of worker 5", "text": "x\nKeyError: 7"},
    ]
    driver.execute_script("window.feed(arguments[0])", {"snapshot": content["snapshot"]})
    assert texts(driver, ".t2-failure-title") == ["Traceback of worker 2", "Traceback of worker 5"]
    assert texts(driver, ".t2-failure-last")[1] == "KeyError: 7"
    opened = "return [...document.querySelectorAll('.t2-failure')].map(fold => fold.open)"
    assert driver.execute_script(opened) == [True, False]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(page: tuple[Any, str], theme: str) -> None:
    driver, address = page
    for job in (t2page.made_job(4), t2page.made_job(1000, agents=40, fails=3, waits=9)):
        t2page.show(driver, address, t2page.content_of(job), theme)
        for title in ("Workers", "Timeline", "Agents"):
            tab(driver, title)
            assert violations(driver) == [], title
    t2page.show(driver, address, t2page.content_of(t2page.made_job(12, fails=2, ends=True)), theme)
    click(driver, ".t2-failure summary")
    click(driver, ".t2-row .t2-open")
    click(driver, ".t2-action:nth-child(2)")
    assert violations(driver) == []


@pytest.mark.parametrize("width", [520, 1100])
def test_nothing_is_scrolled_sideways(page: tuple[Any, str], width: int) -> None:
    driver, address = page
    driver.set_window_size(width, 800)
    try:
        for job in (t2page.made_job(4), t2page.made_job(1000, agents=40, fails=3, waits=9)):
            t2page.show(driver, address, t2page.content_of(job))
            for title in ("Workers", "Timeline", "Agents"):
                tab(driver, title)
                script = """
                    return [document.documentElement, ...document.querySelectorAll(".t2-job, .t2-job *")]
                        .filter(node => node.scrollWidth > node.clientWidth + 1
                            && ["auto", "scroll"].includes(getComputedStyle(node).overflowX))
                        .map(node => node.className)
                """
                assert driver.execute_script(script) == [], (title, width)
                assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        driver.set_window_size(1100, 900)


def test_an_update_of_a_thousand_rows_is_no_long_task(page: tuple[Any, str]) -> None:
    from benchmarks import page as bench

    driver, address = page
    made = bench.contents(1000, 40, 20, 10)
    t2page.show(driver, address, made[0])
    found = bench.measure(driver, made)
    # Generous: the figures of a quiet machine are in benchmarks/README.md.
    assert sorted(found["layout"])[4] < 25 and sorted(found["script"])[4] < 50
