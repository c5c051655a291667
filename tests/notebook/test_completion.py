import warnings

import pytest

from t2notebook.notebook.magics.completer import complete, complete_env


@pytest.fixture
def namespace(shell, fake_client):
    shell.run_cell_magic("twister2", "submit --name pi --workers 3 -o job", "1")
    shell.user_ns["data"] = [1]
    return shell.user_ns


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%%twister2 ", ["submit", "setup", "--help"]),
        ("%twister2 s", ["status", "stack", "setup"]),
        ("%%twister2 setup --", ["--include", "--show", "--clear", "--help"]),
        ("%twister2 l", ["list", "logs"]),
        ("%twister2 --", ["--help"]),
        ("%%twister2 submit --wo", ["--workers", "--workers-per-executor"]),
        ("%%twister2 submit --workers 4 --wo", ["--workers-per-executor"]),
        ("%%twister2 submit -o job --ou", []),
        ("%%twister2 submit --workers ", []),
        ("%%twister2 submit --workers-per-executor ", ["max"]),
        ("%%twister2 submit -o ", ["job"]),
        ("%%twister2 submit -i da", ["data"]),
        ("%%twister2 submit --ga", ["--gang", "--gang-timeout"]),
        ("%%twister2 submit --where u", ["unique:hostname"]),
        ("%%twister2 submit --job-master c", ["cluster"]),
        ("%%twister2 submit --discovery z", ["zookeeper"]),
        ("%twister2 kill j", ["job"]),
        ("%twister2 why j", ["job"]),
        ("%twister2 w", ["why"]),
        ("%twister2 logs job ", ["0", "1", "2"]),
        ("%twister2 logs job 0 --", ["--tail", "--follow", "--stderr", "--help"]),
        ("x = %twister2 attach jo", ["job"]),
        ("%twister2 cluster st", ["start", "stop"]),
        ("%twister2 nonsense ", []),
        ("    %twister2 st", ["status", "stack"]),
    ],
)
def test_completions(namespace, line, expected):
    assert complete(line, namespace) == expected


ENV = [
    "additional_ports",
    "checkpoint",
    "config",
    "credentials",
    "job_id",
    "messages",
    "number_of_workers",
    "on_worker_event",
    "persistent_volume",
    "progress",
    "restart_count",
    "scale_down_workers",
    "scale_up_workers",
    "send",
    "send_to_driver",
    "volatile_volume",
    "worker_controller",
    "worker_id",
]


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("%%twister2 submit -o job\nenv.", "env.", ENV),
        ("%%twister2 submit\nx = data[env.wor", "x = data[env.wor", ["worker_controller", "worker_id"]),
        ("%%twister2 setup\nenv.zzz", "env.zzz", []),
        ("%%twister2 submit\nmyenv.w", "myenv.w", None),
        ("%%twister2 submit\nself.env.w", "self.env.w", None),
        ("%%twister2 submit\nenv.config.k", "env.config.k", None),
        ("env.w", "env.w", None),
        ("%%time\nenv.w", "env.w", None),
    ],
)
def test_what_env_has_completes_in_a_workers_cell(text, line, expected):
    assert complete_env(text, line) == expected


def test_the_help_of_submit_names_all_that_env_has(shell, capsys):
    shell.run_line_magic("twister2", "submit --help")
    text = capsys.readouterr().out
    assert [name for name in ENV if f"env.{name}" not in text] == []


@pytest.mark.parametrize("line", ["", "twister2 ", "x = 1", "%%twister2", "%time twister2 s", "# 5 %twister"])
def test_other_lines_are_left_alone(namespace, line):
    assert complete(line, namespace) is None


def test_job_ids_complete_with_the_newest_first(namespace, shell, fake_client):
    shell.run_cell_magic("twister2", "submit --name second", "1")
    first, second = fake_client.handles
    assert complete("%twister2 status ", namespace) == ["job", second, first]
    assert complete(f"%twister2 logs {first} ", namespace) == ["0", "1", "2"]


def test_where_nothing_fits_nothing_else_is_offered(namespace, shell):
    for line in ("%%twister2 submit --workers ", "%twister2 nonsense ", "%twister2 status zzz"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert list(shell.Completer.complete(line_buffer=line, cursor_pos=len(line))[1]) == []
            assert list(shell.Completer.completions(line, len(line))) == []


def test_through_ipython_s_own_completer(namespace, shell):
    line = "%%twister2 submit --workers-"
    cell = "%%twister2 submit --wa\nx = 1"
    for text, cursor, expected in (
        (line, len(line), "--workers-per-executor"),
        (cell, len("%%twister2 submit --wa"), "--wait"),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # IPython calls its own interface provisional
            found = list(shell.Completer.completions(text, cursor))
        assert [completion.text for completion in found] == [expected]


def test_files_complete(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("data.csv", "data/a.csv", "other.txt", ".hidden", "with space"):
        (tmp_path / name).touch()
    assert complete("%%twister2 submit --file d", {}) == ["data/", "data.csv"]
    assert complete("%%twister2 submit --file data/", {}) == ["data/a.csv"]
    assert complete("%%twister2 submit --file ", {}) == ["data/", "data.csv", "other.txt"]
    assert complete("%%twister2 submit --file .h", {}) == [".hidden"]
    assert complete("%%twister2 submit --file nowhere/", {}) == []
