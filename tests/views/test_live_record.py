import json

from t2fakes import Job

from t2notebook.views.live_record import RATE, Allowance, Changes, live_record


def test_parts_are_json_and_the_small_one_is_small():
    job = Job("pi", 300)
    job.start()
    parts = live_record(job.view())
    assert set(parts) == {"snapshot", "table", "grid", "agents"}
    assert json.loads(json.dumps(parts, allow_nan=False)).keys() == parts.keys()
    assert len(json.dumps(parts["snapshot"])) < 1000 and "rows" not in parts["snapshot"]


def test_only_what_has_changed_is_sent():
    changes = Changes()
    parts = {"snapshot": {"n": 1}, "table": {"ids": [0]}, "output": {}}
    assert changes.of(parts, 0.0) == parts
    assert changes.of(parts, 100.0) == {}
    assert changes.of(parts | {"snapshot": {"n": 2}}, 200.0) == {"snapshot": {"n": 2}}


def test_what_is_large_waits_and_what_is_small_does_not():
    changes = Changes()
    large = {"table": {"x": "x" * RATE}}
    changes.of({"snapshot": 1, **large}, 0.0)
    assert not changes.may_send_all(0.5)
    changed = {"snapshot": 2, "table": {"x": "y"}}
    assert changes.of(changed, 0.5) == {"snapshot": 2} and changes.is_behind
    assert changes.may_send_all(1.1)
    assert changes.of(changed, 1.1) == {"table": {"x": "y"}} and not changes.is_behind


def test_the_last_parts_wait_for_nothing():
    changes = Changes()
    changes.of({"table": "x" * 10 * RATE}, 0.0)
    assert changes.of({"table": "y", "snapshot": 1}, 0.1, last=True) == {"table": "y", "snapshot": 1}


def test_an_allowance_holds_over_time():
    allowance, sent, now = Allowance(1000), 0, 0.0
    while now < 100.0:
        if allowance.is_due(now):
            part = "x" * 698
            allowance.spend(part, now)
            sent += 700
        now += 0.2
    assert 60_000 < sent <= 100_000 + 700


def test_a_burst_comes_first():
    """What ``--follow`` prints stays in a notebook: an hour of a thousand lines a second took 100 MB of it."""
    allowance, sent = Allowance(2_000, burst=400_000), []
    for second in range(3600):
        if allowance.is_due(second):
            allowance.spend("x" * 29_998, second)
            sent.append(second)
    assert sent[:13] == list(range(13)), "the beginning comes at once"
    assert 200 < len(sent) < 260, "and then 2 kB a second"
