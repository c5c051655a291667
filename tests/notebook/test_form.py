"""The resource form: its values, the line that says the same, and what it says of the cluster."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from t2notebook.model.errors import SubmitError
from t2notebook.notebook.feeder import Feeder
from t2notebook.notebook.forms.form import ResourceForm, last_or
from t2notebook.notebook.forms.html import form_html
from t2notebook.notebook.forms.text import forecast_text, hint
from t2notebook.notebook.magics import cell_jobs, submit_parser
from t2notebook.notebook.magics.resources import resources_parser
from t2notebook.views.form_state import fits_text, plan_text, tone
from t2notebook.views.resource_values import ResourceValues, line, replaced, split_where

PARSER = submit_parser.make_parser()


def agent(
    host: str, cpus: float = 4.0, used: float = 0.0, planned: int = 0, waiting: int = 0
) -> dict[str, Any]:
    return {
        "agent": f"{host}-S0",
        "host": host,
        "total": {"cpus": cpus, "mem": 4096.0, "disk": 0.0, "gpus": 0.0},
        "used": {"cpus": used, "mem": 0.0, "disk": 0.0, "gpus": 0.0},
        "planned": planned,
        "waiting": waiting,
    }


def forecast(now: int, later: int, **more: Any) -> dict[str, Any]:
    agents = [agent("h1", planned=3), agent("h2", used=4.0, waiting=2)]
    return {
        "now": {"workers": now, "agents": 1 if now else 0},
        "later": {"workers": later, "agents": 2},
        "quota": "",
        "largest": {"cpus": 3.9, "mem": 4032.0, "disk": 0.0, "gpus": 0.0},
        "agents": agents,
        "number_of_agents": 2,
        "absent": 0,
        "kept": 0,
        "total": {"cpus": 8.0, "mem": 8192.0},
        "used": {"cpus": 4.0, "mem": 0.0},
        "hosts": ["h1", "h2"],
        "attributes": {"rack": ["r1", "r2"]},
        "master": "10.0.0.1:5050",
        **more,
    }


VALUES = st.builds(
    ResourceValues,
    workers=st.integers(1, 100_000),
    cpus=st.integers(1, 64_000).map(lambda number: number / 1000),
    ram=st.integers(1, 10_000_000).map(float),
    disk=st.integers(0, 1000).map(float),
    gpus=st.integers(0, 8),
    workers_per_executor=st.one_of(st.just("max"), st.integers(1, 64)),
    nodes=st.lists(st.sampled_from(["h1", "h2", "node-3.x"]), unique=True).map(tuple),
    attributes=st.dictionaries(
        st.sampled_from(["rack", "zone", "a note"]),
        st.lists(
            st.sampled_from(["r1", "a,b", "it's", "x|y", "{r}", "$HOME", "$"]), min_size=1, unique=True
        ).map(tuple),
    ).map(lambda found: tuple(found.items())),
    more=st.sampled_from(["", "unique:hostname", "zone!=b"]),
)


@given(VALUES)
def test_the_line_says_the_same(values: ResourceValues) -> None:
    arguments = PARSER.parse(values.words())
    assert ResourceValues.of(arguments).where == values.where
    assert ResourceValues.of(arguments).options() == values.options()
    assert ResourceValues.read(values.to_dict()).options() == values.options()


@given(VALUES)
def test_ipython_leaves_the_line_as_it_is(values: ResourceValues) -> None:
    from IPython.utils.text import DollarFormatter

    assume("$" not in values.where)
    text = line(values.words()).removeprefix("%%twister2 submit ")
    expanded = DollarFormatter().vformat(text, args=[], kwargs={"HOME": "/root", "r": 1})
    assert shlex.split(expanded) == values.words()


def test_the_other_options_of_a_line_stay() -> None:
    words = shlex.split(
        "--name train --workers=2 --cpu 4 --setenv --workers -o job --ram 1GB --keep-going --form --ports 2 "
        "--where rack=r1"
    )
    values = ResourceValues(workers=8, cpus=2, ram=2048)
    assert shlex.join(replaced(words, values, PARSER.takes_value)) == (
        "--workers 8 --cpus 2 --ram 2048 --name train --setenv --workers -o job --keep-going --ports 2"
    )


def test_constraints_on_attributes_are_chosen_the_others_written() -> None:
    assert split_where("rack=r1|r2,unique:hostname,zone!=b,rack=r3") == (
        (("rack", ("r1", "r2")),),
        "unique:hostname,zone!=b,rack=r3",
    )


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"workers": 0}, "instances is 0"),
        ({"cpus": -1}, "cpu is -1"),
        ({"cpus": 1e12}, "no agent has more"),
        ({"workers": 1.5}, "instances is 1.5"),
        ({"more": "rack"}, "is no constraint"),
        ({"workers_per_executor": None}, "workers_per_executor is None"),
        ({"nodes": [""]}, "one of the names is empty"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(record: dict[str, Any], says: str) -> None:
    with pytest.raises(SubmitError, match=says):
        ResourceValues.read(record)


@pytest.mark.parametrize(
    ("found", "workers", "fits", "plan", "colour"),
    [
        (
            forecast(12, 20),
            12,
            "Fits now: 12 workers of this size on 1 agent; 20 after running tasks end.",
            "",
            "good",
        ),
        (forecast(12, 12), 4, "Fits now: 12 workers of this size on 1 agent.", "", "good"),
        (forecast(3, 5), 5, "Fits now: 3 workers of this size", "Of 5 workers, 3 start at once", "waiting"),
        (forecast(3, 5), 9, "Fits now: 3 workers", "never more than 5 run at the same time", "bad"),
        (forecast(0, 5), 1, "Fits now: 0 workers of this size; 5 after", "Of 1 workers, 0 start", "waiting"),
        (forecast(0, 0), 1, "No agent can hold a worker of this size: one can have 3.9 cpus", "", "bad"),
        (forecast(2, 5, quota="ads"), 1, "the quota of the role ads bounds it", "", "good"),
    ],
)
def test_what_fits_in_words(found: dict[str, Any], workers: int, fits: str, plan: str, colour: str) -> None:
    values = ResourceValues(workers=workers)
    assert fits in fits_text(found, values)
    assert plan in plan_text(found, values) and bool(plan) == bool(plan_text(found, values))
    assert tone(found, values) == colour


def test_what_was_measured_is_a_hint() -> None:
    advice = "used at most 0.3 of 1 cpu and 90 of 512 MiB a worker: --cpus 0.5 --ram 128 would do"
    assert hint(advice) == {"text": f"The last job of this name {advice}.", "cpus": 0.5, "ram": 128.0}
    assert hint("") == {}


def test_a_terminal_gets_a_table() -> None:
    text = forecast_text(forecast(3, 5), ResourceValues(workers=5))
    assert text.splitlines()[0] == "2 agents of 10.0.0.1:5050: 4 of 8 cpus and 0 MiB of 8 GiB used"
    assert text.splitlines()[-2:] == [
        "h1    0 of 4     0 MiB of 4 GiB        3",
        "h2    4 of 4     0 MiB of 4 GiB                 2",
    ]


def test_what_a_saved_notebook_keeps_is_escaped_and_small() -> None:
    text = form_html(ResourceValues(workers=2, more="<b>"), "%%twister2 submit --where '<b>'", "t2-x", 0.0)
    assert "<b>" not in text and len(text) < 2000 and "2 workers, each with 1 cpu and 512 MiB" in text


class FakeView:
    def __init__(self, is_shown: bool) -> None:
        self.is_shown = is_shown
        self.count = 0

    def refresh(self) -> None:
        self.count += 1


def test_the_form_begins_with_the_last_cells_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The magic did, while the class began with one worker."""

    def of_line(*words: str) -> ResourceValues:
        arguments = resources_parser().parse([*words])
        arguments.words = [*words]
        return last_or(arguments).values

    monkeypatch.setattr(cell_jobs, "_last", None)
    assert ResourceForm().values == ResourceValues() == of_line()
    words = shlex.split("--name pi --workers 4 --ram 1GB --nodes h1,h2 --where 'rack=r1,unique:hostname'")
    monkeypatch.setattr(cell_jobs, "_last", cell_jobs.SubmitCell(words, "1", "key", "pi"))
    begun = ResourceForm().values
    assert begun == of_line()
    assert (begun.workers, begun.cpus, begun.ram, begun.nodes) == (4, 1.0, 1024.0, ("h1", "h2"))
    assert (begun.attributes, begun.more) == ((("rack", ("r1",)),), "unique:hostname")
    changed = ResourceForm(workers=2, where="zone=b", disk=0).values
    assert changed == of_line("--workers", "2", "--where", "zone=b", "--disk", "0")
    assert (changed.workers, changed.ram, changed.where) == (2, begun.ram, "zone=b")
    assert begun.nodes and not ResourceForm(nodes=()).values.nodes
    with pytest.raises(SubmitError):
        ResourceForm(workers=0)


def test_a_form_that_nobody_sees_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from t2notebook.notebook import feeder as module

    monkeypatch.setattr(module, "INTERVAL", 0.01)
    feeder, seen, unseen = Feeder(), FakeView(True), FakeView(False)
    feeder.follow(seen)
    feeder.follow(unseen)
    _until(lambda: seen.count > 5)
    assert unseen.count == 1  # once, so that it is right when somebody looks
    feeder.hurry(unseen)
    _until(lambda: unseen.count == 2)
    seen.is_shown = False
    feeder.hurry(seen)
    _until(lambda: not feeder._due[seen] or feeder._due[seen] > 0)


def _until(condition: Any) -> None:
    import time

    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
