"""What a saved notebook keeps of a cluster's view."""

import pytest

from t2notebook.notebook import cluster_view
from t2notebook.notebook.cluster_view import KEPT_INTERVAL, ClusterView, kept

PAGE = {
    "master": "h1:5050",
    "version": "1.12.0",
    "agents": {"active": 0, "inactive": 0, "unreachable": 0},
    "tasks": {"running": 0},
    "resources": [{"name": "cpus", "total": 8.8, "allocated": 4.1, "offered": 0.0, "idle": 4.7}],
    "active": [],
    "unreachable": [],
    "completed": [],
}


class Widget:
    beat = 0

    def __init__(self):
        self.state = {"page": PAGE, "trouble": ""}


@pytest.fixture
def view(monkeypatch):
    class Place:
        def __init__(self, ip):
            self.updates = []

        def update(self, bundle, name):
            self.updates.append((name, bundle))

        def run(self, function, *arguments):
            function(*arguments)

    monkeypatch.setattr(cluster_view, "OutputContext", Place)
    return ClusterView(None, Widget(), "t2-0123456789ab")


def page(agents):
    return {"page": {**PAGE, "agents": {**PAGE["agents"], "active": agents}}, "trouble": ""}


def test_it_says_when_it_was_so():
    found = kept(PAGE, "t2-0123456789ab")
    assert (
        found["text/plain"].startswith("Not live: as of ")
        and "%twister2 cluster, or this cell again, shows how it is now" in found["text/plain"]
    )
    assert "agents: 0 active" in found["text/html"] and "8.8" in found["text/plain"]


def test_a_first_look_before_the_agents_came_is_not_what_stays(view):
    """A notebook that was reloaded said that its cluster had no agents."""
    view._write(page(0))
    assert view._place.updates == []
    view._write(page(2))
    ((name, found),) = view._place.updates
    assert name == "t2-0123456789ab" and "agents: 2 active" in found["text/plain"]


def test_it_is_renewed_now_and_then_while_it_changes(view, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(cluster_view.time, "monotonic", lambda: now)
    for second in range(60):
        now += 1.0
        view._write(page(second))
    assert len(view._place.updates) == 60 // KEPT_INTERVAL
    assert view.widget.beat == 60
