from t2notebook.views.why import MOST, why_part


def test_sentences_of_rows():
    rows = [
        {"host": "h1", "lacked": "cpus", "offered": 1.0, "asked": 2.5, "message": ""},
        {"host": "h2", "lacked": "mem", "offered": float("nan"), "asked": None, "message": None},
        {"host": "h3", "message": "h3: another host was asked for"},
        {"host": "", "message": "the quota of the role is used up"},
        {"host": "", "message": "the quota of the role is used up"},
    ]
    assert why_part("2 workers wait", rows, 1.0) == {
        "message": "2 workers wait",
        "rows": [
            "h1: lacks cpus: offered 1, asked 2.5",
            "h2: lacks mem",
            "h3: another host was asked for",
            "the quota of the role is used up (2 times)",
        ],
        "at": 1.0,
    }


def test_many_are_cut_and_none_is_said():
    part = why_part("", ({"host": f"h{n}", "lacked": "cpus"} for n in range(10_000)), 2.0)
    assert len(part["rows"]) == MOST + 1 and part["rows"][-1] == "and 9,950 more: job.why has every one"
    assert part["message"] == "Its workers wait for resources."
    assert why_part("", (), 3.0)["message"] == "Nothing keeps it waiting."
