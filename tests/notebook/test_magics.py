import _thread
import re
import threading
import time

import pytest

from t2notebook.model.errors import JobFailed, PackageError, SubmitError, Twister2Error, UnknownJob
from t2notebook.notebook.errors import CellSyntaxError, Interrupted, UsageError
from t2notebook.notebook.magics.completer import complete
from t2notebook.notebook.magics.dispatch import VERBS
from tests.busy import longer

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def rendered(error):
    return ANSI.sub("", "\n".join(error._render_traceback_()))


def submit(shell, line="", cell="1 + 1"):
    return shell.run_cell_magic("twister2", f"submit {line}", cell)


def twister2(shell, line):
    return shell.run_line_magic("twister2", line)


def test_submit_passes_what_was_asked_for(shell, fake_client):
    submit(shell, "--name pi --workers 4 --cpus .5 --ram 256 --disk 1 --workers-per-executor 2 -o job")
    (submitted,) = fake_client.submitted
    assert submitted.options == {
        "name": "pi",
        "workers": 4,
        "cpu": 0.5,
        "ram_mega_bytes": 256.0,
        "disk_giga_bytes": 1.0,
        "workers_per_executor": 2,
        "gpus": 0,
        "ports": 0,
        "image": "",
        "nodes": (),
        "where": "",
        "gang": False,
        "gang_timeout": 30.0,
        "max_worker_restarts": 5,
        "keep_going": False,
        "scalable": False,
        "discovery": "",
        "job_master": "session",
        "on_exit": None,
        "persistent_volume": "",
        "time_limit": None,
        "debug": False,
        "debug_timeout": 600.0,
        "setenv": [],
        "files": (),
    }
    assert shell.user_ns["job"] is fake_client.handles[shell.user_ns["job"].job_id]


def named(fake_client):
    return fake_client.submitted[-1].options["name"]


def test_the_cell_is_named_after_its_number(shell, fake_client):
    shell.run_cell("%%twister2 submit\n1", store_history=True)
    number = len(shell.user_ns["In"]) - 1
    assert named(fake_client) == f"cell-{number}"
    shell.run_cell("%%twister2 submit\n1", store_history=True)
    assert named(fake_client) == f"cell-{number + 1}"


def test_the_cell_is_named_after_its_notebook(shell, fake_client, monkeypatch):
    for path, name in {
        "/home/me/pi analysis.ipynb": "pi-analysis-",
        "work/Übung.v2.ipynb": "Übung.v2-",
        "a" * 60 + ".ipynb": "a" * 24 + "-",
        "console-1-8c7f51e2": "cell-",
        "": "cell-",
    }.items():
        monkeypatch.setenv("JPY_SESSION_NAME", path)
        submit(shell)
        assert named(fake_client).rpartition("-")[0] + "-" == name
    monkeypatch.setitem(shell.user_ns, "__vsc_ipynb_file__", "/home/me/code.ipynb")
    submit(shell)
    assert named(fake_client).startswith("code-")
    submit(shell, "--name pi")
    assert named(fake_client) == "pi"


def test_a_cell_that_runs_again_says_that_its_earlier_job_goes_on(shell, fake_client, capsys):
    submit(shell, "-o first", "7 * 6")
    submit(shell, "", "7 * 7")
    assert "earlier" not in capsys.readouterr().out
    submit(shell, "", "7 * 6")
    first = shell.user_ns["first"].job_id
    assert (
        f"Of this cell's earlier runs job {first} has not ended; %twister2 kill ends it, and --replace does"
        in capsys.readouterr().out
    )
    submit(shell, "--replace", "7 * 6")
    replaced = fake_client.submitted[-1].options["replace"]
    assert [job.job_id for job in replaced] == [list(fake_client.handles)[number] for number in (0, 2)]
    assert "earlier" not in capsys.readouterr().out
    submit(shell, "--replace --name pi", "1")
    assert fake_client.submitted[-1].options["replace"] == []
    submit(shell, "--replace --name pi", "2")
    assert [job.name for job in fake_client.submitted[-1].options["replace"]] == ["pi"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--workers {nope}", "{nope} stands for a variable, and there is no variable 'nope'"),
        ("--workers $nope", "$nope stands for a variable, and there is no variable 'nope'"),
        (
            "--workers {n} --ram {2 * nope}",
            "{2 * nope} stands for a variable, and there is no variable 'nope'",
        ),
        ("--workers {n / 0}", "{n / 0} cannot be replaced: 'n / 0' raises an error here"),
    ],
)
def test_a_variable_that_is_not_there_is_named(shell, fake_client, capsys, words, message):
    shell.user_ns["n"] = 3
    shell.run_cell(f"%%twister2 submit {words}\n1")
    assert ANSI.sub("", capsys.readouterr().out).strip() == f"UsageError: {message}"
    assert not fake_client.submitted


def test_the_worker_runs_the_cell_with_the_notebook_s_names(shell, fake_client):
    shell.user_ns["data"] = [1, 2, 3]
    submit(shell, "", "sum(data) + env")
    assert fake_client.submitted[0].function(4) == 10


def test_a_value_may_come_from_a_variable(shell, fake_client):
    shell.user_ns["n"] = 3
    shell.run_cell("%%twister2 submit --workers {n}\n1")
    assert fake_client.submitted[0].options["workers"] == 3


def test_submit_returns_at_once_and_shows_the_job(shell, fake_client, capsys):
    begin = time.monotonic()
    assert submit(shell, "--name pi") is None
    assert time.monotonic() - begin < longer(1)
    assert "pi: PENDING, 1 pending" in capsys.readouterr().out


def test_wait_waits_for_the_end(shell, fake_client, capsys):
    fake_client.script = lambda job: job.run_well(steps=2)
    assert submit(shell, "--name pi --wait -o job") is None
    assert shell.user_ns["job"].state == "COMPLETED"
    assert "pi: COMPLETED, 1 finished" in capsys.readouterr().out


def test_wait_in_a_terminal_says_what_the_job_waits_for_once(shell, fake_client, capsys, monkeypatch):
    monkeypatch.setattr("t2notebook.notebook.magics.waiting.HELD_LOOK", 0.01)
    reasons = [f"{number} cpus free, 9 asked" for number in range(8)]

    def script(job):
        for reason in reasons:
            job.pending(reason)
            time.sleep(0.1)
        job.run_well(steps=1)

    fake_client.script = script
    submit(shell, "--name pi --wait -o job")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("waiting: ")]
    # The first view may have one, too; on a busy machine some were gone before anybody looked.
    assert lines and len(lines) <= 5 + 1 and len(set(lines)) >= len(lines) - 1
    assert all(line.removeprefix("waiting: ") in reasons for line in lines)


def test_wait_without_a_variable_returns_the_results(shell, fake_client):
    fake_client.script = lambda job: job.run_well(steps=2)
    assert submit(shell, "--name pi --workers 2 --wait") == [None, None]


def test_a_failed_job_under_wait_shows_the_cell_s_lines_and_none_of_ours(shell, fake_client):
    fake_client.script = lambda job: (job.start(), job.fail())
    with pytest.raises(JobFailed) as caught:
        submit(shell, "--name pi --wait")
    text = rendered(caught.value)
    assert text.startswith("JobFailed: job me-pi-")
    assert '  File "<cell pi>", line 3, in <cell>\n    1 / 0' in text
    assert "ZeroDivisionError: division by zero" in text
    assert "t2notebook" not in text


def test_without_a_traceback_a_failure_shows_the_end_of_stderr(shell, fake_client):
    def script(job):
        job.stderr = "Killed\n"
        job.start()
        job.fail(message="killed by signal 9")
        job.remote_traceback = ""

    fake_client.script = script
    with pytest.raises(JobFailed) as caught:
        submit(shell, "--wait")
    caught.value.remote_traceback = ""
    assert rendered(caught.value).endswith("The end of worker 0's stderr:\nKilled")


def test_an_interrupt_during_wait_kills_the_job_and_says_so(shell, fake_client):
    def script(job):
        job.start()
        time.sleep(0.2)
        _thread.interrupt_main()

    fake_client.script = script
    with pytest.raises(Interrupted) as caught:
        submit(shell, "--name pi --wait -o job")
    job = shell.user_ns["job"]
    assert job.killed_by_client and job.state == "KILLED"
    assert rendered(caught.value) == f"Interrupted: you stopped the cell, so job {job.job_id} was killed"


def test_an_interrupt_may_leave_the_job_to_run(shell, fake_client):
    def script(job):
        job.start()
        time.sleep(0.2)
        _thread.interrupt_main()

    fake_client.script = script
    with pytest.raises(Interrupted) as caught:
        submit(shell, "--name pi --wait --on-interrupt detach -o job")
    job = shell.user_ns["job"]
    assert not job.killed_by_client and job.state == "STARTED"
    assert rendered(caught.value) == (
        f"Interrupted: you stopped the cell; job {job.job_id} goes on, and %twister2 kill ends it"
    )


def test_an_interrupt_that_cannot_kill_says_why(shell, fake_client, monkeypatch):
    def script(job):
        job.start()
        job.kill = lambda: (_ for _ in ()).throw(Twister2Error("the session is gone"))
        time.sleep(0.3)
        _thread.interrupt_main()

    fake_client.script = script
    with pytest.raises(Interrupted, match=r"could not be killed: the session is gone"):
        submit(shell, "--wait")


def test_a_dry_run_submits_nothing_and_says_what_would_travel(shell, fake_client, capsys):
    submit(shell, "--name pi --workers 4 --cpus 1 --ram 2048 --dry-run -o job")
    assert capsys.readouterr().out.splitlines() == [
        "Nothing was submitted. This would be:",
        "job        pi",
        "workers    4, each with 1 cpu, 2 GiB of memory",
        "executors  as many workers in each as an offer holds",
        "package    12.3 kB, sha256:aaaaaaaaaaaa",
        "",
        "What travels with the cell:",
        "  data         8.0 MB",
        "  model  under 64 KiB",
    ]
    assert not fake_client.submitted
    assert "job" not in shell.user_ns


def test_a_dry_run_says_where_and_how_workers_would_start(shell, fake_client, capsys):
    line = "--name pi --gpus 1 --ports 2 --workers-per-executor 1 --nodes h1,h2 --where rack=r1 --gang --max-restarts 0"
    submit(shell, f"{line} --image python:3.12-slim --dry-run")
    assert capsys.readouterr().out.splitlines()[1:9] == [
        "job        pi",
        "workers    1, each with 1 cpu, 512 MiB of memory, 1 GPU, 2 ports",
        "executors  1 worker in each",
        "image      python:3.12-slim",
        "nodes      only h1, h2",
        "agents     rack=r1",
        "gang       all workers at once; offers are gathered for 30 s",
        "restarts   up to 0 of each worker",
    ]


def test_submit_hands_placement_and_restarts_on(shell, fake_client):
    submit(
        shell,
        "--nodes h1,h2 --where unique:hostname --ports 1 --gpus 2 --gang --gang-timeout 9 --max-restarts 1 --image x:1",
    )
    options = fake_client.submitted[0].options
    wanted = {
        "nodes": ("h1", "h2"),
        "where": "unique:hostname",
        "ports": 1,
        "gpus": 2,
        "gang": True,
        "gang_timeout": 9.0,
        "max_worker_restarts": 1,
        "image": "x:1",
    }
    assert {name: options[name] for name in wanted} == wanted


def test_why_says_why_a_job_waits_and_why_it_has_waited(shell, fake_client, capsys):
    submit(shell, "--name pi --workers 2 -o job")
    job = shell.user_ns["job"]
    capsys.readouterr()
    shell.run_line_magic("twister2", "why job")
    head = f"Job {job.job_id} is"
    assert capsys.readouterr().out == f"{head} PENDING: 2 of 2 workers wait; no offer has come yet.\n"
    message = "h1: 4.0 cpus free, 8.1 asked, 0.1 of it for the executor"
    job.why_rows = [
        {"time": 1.0, "host": "h1", "lacked": "cpus", "offered": 4.0, "asked": 8.1, "message": message},
        {"time": 1.0, "host": "h2", "lacked": "rack", "message": "h2: rack is r2, r1 asked"},
    ]
    job.pending(f"2 workers waiting: {message}")
    shell.run_line_magic("twister2", "why job")
    first, blank, headings, one, two = capsys.readouterr().out.splitlines()
    assert (first, blank) == (f"{head} PENDING: 2 workers waiting: {message}.", "")
    assert headings.split() == ["host", "lacked", "offered", "asked", "message"]
    assert one.split()[:4] == ["h1", "cpus", "4.0", "8.1"]
    assert one.endswith(message)
    assert two.split(None, 2) == ["h2", "rack", "h2: rack is r2, r1 asked"]
    job.start()
    shell.run_line_magic("twister2", "why job")
    assert capsys.readouterr().out.startswith(
        f"{head} STARTED; 2 of 2 workers were launched, after waiting for:\n\n"
    )
    job.why_rows = []
    shell.run_line_magic("twister2", "why job")
    assert (
        capsys.readouterr().out == f"{head} STARTED; no worker waited for resources: the first offers did.\n"
    )


@pytest.mark.parametrize(
    ("cell", "number", "text"),
    [
        ("!ls", 1, "'!ls'"),
        ("x = 1\n%time x", 2, "'%time x'"),
        ("x = 1\nfiles = !ls\nx", 2, "'files = !ls'"),
        ("y = %pwd", 1, "'y = %pwd'"),
        ("x = 1\nx?", 2, "'x?'"),
        ("%%time\n1", 1, "'%%time'"),
    ],
)
def test_a_line_for_ipython_is_refused_by_name(shell, fake_client, cell, number, text):
    with pytest.raises(UsageError) as caught:
        submit(shell, "", cell)
    assert str(caught.value) == (
        f"line {number} of the cell is no Python: {text}; workers run plain Python, so run %, ! and ? lines "
        "in a cell of their own"
    )
    assert not fake_client.submitted


@pytest.mark.parametrize("cell", ["x = (7\n% 4)\nx", 'x = """\n!ls\n%time\n"""\nx', "x = 5 % 3\nx"])
def test_python_that_looks_like_a_magic_is_python(shell, fake_client, cell):
    submit(shell, "", cell)
    assert len(fake_client.submitted) == 1


def test_a_syntax_error_reads_as_python_s_own(shell, fake_client):
    with pytest.raises(CellSyntaxError) as caught:
        submit(shell, "--name pi", "x = 1\ny = (2\n")
    assert rendered(caught.value) == (
        "  File \"<cell pi>\", line 2\n    y = (2\n        ^\nSyntaxError: '(' was never closed\n"
        "Nothing was submitted."
    )
    assert str(caught.value) == "'(' was never closed (line 2 of the cell); nothing was submitted"
    assert not fake_client.submitted


def test_an_empty_cell_is_refused(shell, fake_client):
    with pytest.raises(UsageError, match="the cell is empty; write the worker's code below"):
        submit(shell, "", "\n  \n")


@pytest.mark.parametrize("kind", [SubmitError, PackageError])
def test_what_the_client_refuses_is_one_line(shell, fake_client, monkeypatch, kind):
    def refuse(*_, **__):
        raise kind("'lock' cannot travel:\n  it is a thread's lock")

    monkeypatch.setattr(fake_client, "submit", refuse)
    with pytest.raises(kind) as caught:
        submit(shell, "-o job")
    assert rendered(caught.value) == f"{kind.__name__}: 'lock' cannot travel: it is a thread's lock"
    assert "job" not in shell.user_ns


def test_an_error_stops_the_cell_with_one_line(shell, fake_client, capsys):
    result = shell.run_cell("%%twister2 submit --cpus 0\n1")
    assert isinstance(result.error_in_exec, UsageError)
    out = ANSI.sub("", capsys.readouterr().out)
    assert out == "UsageError: --cpus is 0; give more than 0, cpus per worker\n"


def test_help_needs_no_cell_and_is_no_error(shell, fake_client, capsys):
    assert shell.run_cell("%%twister2 submit --help").success
    assert capsys.readouterr().out.startswith("usage: %%twister2 submit")
    assert shell.run_cell("%twister2 submit --help").success
    assert capsys.readouterr().out.startswith("usage: %%twister2 submit")
    for line in ("%twister2", "%twister2 --help", "%%twister2", "%twister2 help"):
        assert shell.run_cell(line).success
        assert "%twister2 status" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "submit",
            "submit takes a cell: begin the cell with %%twister2 submit, with two % signs",
        ),
        ("stats", "there is no verb 'stats'; did you mean status?"),
        (
            "xyz",
            f"there is no verb 'xyz'; there are {', '.join(VERBS)}",
        ),
    ],
)
def test_a_wrong_verb_is_one_line(shell, line, message):
    with pytest.raises(UsageError) as caught:
        twister2(shell, line)
    assert str(caught.value) == message


def test_a_line_verb_takes_no_cell(shell):
    with pytest.raises(UsageError, match="list takes no cell: write %twister2 list, with one % sign"):
        shell.run_cell_magic("twister2", "list", "1 + 1")


def test_a_job_is_found_by_variable_id_and_beginning(shell, fake_client, capsys):
    submit(shell, "--name pi -o job")
    job_id = shell.user_ns["job"].job_id
    for name in ("job", job_id, job_id[:-1]):
        capsys.readouterr()
        twister2(shell, f"status {name}")
        assert capsys.readouterr().out.startswith("pi: PENDING")


def test_a_beginning_of_several_ids_is_refused(shell, fake_client):
    submit(shell, "--name pi")
    submit(shell, "--name pi")
    with pytest.raises(
        UsageError, match=r"2 job ids begin with 'me-pi': me-pi-\d+, me-pi-\d+; write more of it"
    ):
        twister2(shell, "kill me-pi")


def test_a_name_is_enough_and_means_the_newest(shell, fake_client, capsys):
    submit(shell, "--name pi")
    (job_id,) = fake_client.handles
    assert twister2(shell, "attach pi").job_id == job_id
    submit(shell, "--name pi")
    newest = list(fake_client.handles)[-1]
    assert twister2(shell, "attach pi").job_id == newest
    assert f"2 jobs are called 'pi'; this is the newest, {newest}, not {job_id}." in capsys.readouterr().out
    with pytest.raises(UsageError, match=rf"2 unfinished jobs are called 'pi': {newest}, {job_id}; write"):
        twister2(shell, "kill pi")
    fake_client.handles[newest].kill()
    twister2(shell, "kill pi")
    assert f"Job {job_id} is being killed." in capsys.readouterr().out


def test_every_error_of_ours_is_its_message_alone_in_a_plain_cell(shell, capsys):
    shell.user_ns["error"] = SubmitError("workers is 0; " + "x" * 100_000)
    shell.run_cell("try:\n    1 / 0\nexcept ZeroDivisionError as cause:\n    raise error from cause")
    out = ANSI.sub("", capsys.readouterr().out)
    assert out.startswith("SubmitError: workers is 0; xxx") and "ZeroDivisionError" not in out
    assert out.endswith("x… (98,014 more characters)\n") and len(out) < 2100


def test_a_hint_is_said_once_too(shell):
    hint = "the notebook has `lim`: `-i lim` takes it along"
    trace = f"Traceback (most recent call last):\n  File x\nNameError: name 'lim' is not defined\n{hint}"
    message = f"job j failed: worker 1 on h failed: NameError: name 'lim' is not defined; {hint}"
    error = JobFailed(message, remote_traceback=trace, worker_id=1)
    assert rendered(error) == f"JobFailed: job j failed: worker 1 on h failed\n\nWorker 1:\n{trace}"


@pytest.mark.parametrize("message", ["boom", "two\nlines", "a: b", ""])
def test_a_failure_says_its_message_once(shell, message):
    said = f"ValueError: {message}" if message else "ValueError"
    trace = f"Traceback (most recent call last):\n  File x\n{said}\nand a hint"
    error = JobFailed(
        f"job j failed: worker 1 on h failed: {' '.join(said.split())}", remote_traceback=trace, worker_id=1
    )
    assert rendered(error) == f"JobFailed: job j failed: worker 1 on h failed\n\nWorker 1:\n{trace}"
    error.headline = "job j failed: its result is lost"
    assert rendered(error).startswith("JobFailed: job j failed: its result is lost\n")


def test_an_endless_worker_message_is_cut(shell):
    trace = "Traceback (most recent call last):\nValueError: " + "boom " * 20_000
    error = JobFailed("boom " * 20_000, remote_traceback=trace, worker_id=1)
    assert len(rendered(error)) < 5000
    error = JobFailed("boom", remote_traceback="Traceback\n" + "line\n" * 20_000 + "the end", worker_id=1)
    text = rendered(error)
    assert len(text) < 20_000 and text.endswith("the end")


@pytest.mark.parametrize("line", ["rename", "begin"])
def test_a_far_fetched_verb_is_no_guess(shell, line):
    with pytest.raises(UsageError, match=f"there is no verb '{line}'; there are submit, status"):
        twister2(shell, line)


def test_a_far_fetched_option_is_no_guess(shell):
    with pytest.raises(UsageError, match=r"unknown option --colour \("):
        submit(shell, "--colour 3")


def test_an_unknown_job_is_one_line(shell, fake_client):
    with pytest.raises(UnknownJob) as caught:
        twister2(shell, "kill nope")
    assert rendered(caught.value) == "UnknownJob: no session knows job nope"
    shell.user_ns["x"] = 3
    with pytest.raises(UsageError, match="the variable x is an int, not a job"):
        twister2(shell, "kill x")


def test_status_without_a_job_shows_those_that_run(shell, fake_client, capsys):
    twister2(shell, "status")
    assert "This kernel has no job" in capsys.readouterr().out
    submit(shell, "--name one -o one")
    submit(shell, "--name two")
    shell.user_ns["one"].kill()
    capsys.readouterr()
    twister2(shell, "status")
    out = capsys.readouterr().out
    assert "two: PENDING" in out and "one:" not in out


def test_list_returns_the_table(shell, fake_client):
    submit(shell, "--name pi")
    assert list(twister2(shell, "list")["name"]) == ["pi"]


def test_logs(shell, fake_client, capsys):
    submit(shell, "--workers 2 -o job")
    shell.user_ns["job"].texts[1, "stdout"] = "no newline"
    capsys.readouterr()
    twister2(shell, "logs job 1")
    assert capsys.readouterr().out == "no newline\n"
    twister2(shell, "logs job 1 --stderr -f")
    assert capsys.readouterr().out == "stderr of 1\n"
    with pytest.raises(UsageError, match=r"has workers 0 to 1, not 2"):
        twister2(shell, "logs job 2")


def test_an_interrupt_ends_following_only(shell, fake_client, capsys):
    submit(shell, "-o job")
    job = shell.user_ns["job"]

    def logs(*_, **__):
        yield "line\n"
        raise KeyboardInterrupt

    job.logs = logs
    twister2(shell, "logs job 0 -f")
    assert capsys.readouterr().out.endswith("line\n\n(stopped following; the job goes on)\n")
    assert not job.killed_by_client


def test_kill(shell, fake_client, capsys):
    submit(shell, "-o job")
    job = shell.user_ns["job"]
    capsys.readouterr()
    twister2(shell, "kill job")
    assert capsys.readouterr().out == f"Job {job.job_id} is being killed.\n"
    twister2(shell, "kill job")
    assert capsys.readouterr().out == f"Job {job.job_id} has already ended: KILLED.\n"


def test_attach_returns_the_handle(shell, fake_client):
    submit(shell, "--name pi")
    (job_id,) = fake_client.handles
    assert twister2(shell, f"attach {job_id} -o again") is fake_client.handles[job_id]
    assert shell.user_ns["again"] is fake_client.handles[job_id]


def test_cluster_and_config(shell, fake_client, capsys):
    twister2(shell, "cluster")
    assert "No embedded Mesos runs" in capsys.readouterr().out
    twister2(shell, "cluster start")
    assert capsys.readouterr().out.splitlines() == [
        "master      127.0.0.1:5050",
        "pid         17",
        "agents      2 (1 more cannot be reached)",
        "cpus        3.4 of 8.8 used",
        "memory      1000 MiB of 8.5 GiB used",
        "tasks       3 running, 1 starting",
        "frameworks  2",
    ]
    submit(shell, "-o job")
    job_id = shell.user_ns["job"].job_id
    with pytest.raises(UsageError, match=f"1 unfinished job would end with it: {job_id}; end them first, or"):
        twister2(shell, "cluster stop")
    assert fake_client.cluster is not None
    capsys.readouterr()
    twister2(shell, "cluster stop --force")
    assert (
        capsys.readouterr().out == f"The embedded Mesos is stopped, and with it 1 unfinished job: {job_id}.\n"
    )
    twister2(shell, "kill job")
    twister2(shell, "cluster start")
    capsys.readouterr()
    twister2(shell, "cluster stop")
    assert capsys.readouterr().out == "The embedded Mesos is stopped.\n"
    twister2(shell, "cluster stop")
    assert capsys.readouterr().out == "No embedded Mesos ran.\n"
    with pytest.raises(UsageError, match="cluster begin: say show, start or stop"):
        twister2(shell, "cluster begin")
    twister2(shell, "config")
    assert ["master", "local", "default"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_setting_says_where_it_comes_from_and_what_it_means(shell, fake_client, capsys, monkeypatch):
    monkeypatch.setenv("T2_ROLE", "research")
    twister2(shell, "config")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["setting", "value", "from"] and ["role", "research", "T2_ROLE"] in lines
    twister2(shell, "config role")
    assert capsys.readouterr().out.startswith("role = 'research', from T2_ROLE\nMesos role")
    with pytest.raises(UsageError, match=r"there is no setting .rol.; did you mean role"):
        twister2(shell, "config rol")
    assert "session_linger" in complete("%twister2 config s", {})


def test_a_lost_session_is_said_under_wait(shell, fake_client):
    def script(job):
        job.start()
        job.lost = "the session process has ended"

    fake_client.script = script
    with pytest.raises(Twister2Error) as caught:
        submit(shell, "--wait")
    assert rendered(caught.value) == "SessionError: the session process has ended"
    assert threading.current_thread() is threading.main_thread()


def test_in_a_terminal_a_cell_goes_on_after_its_first_line(shell):
    assert shell.check_complete("%%twister2 submit --workers 2")[0] == "incomplete"
    assert shell.check_complete("%%twister2 submit --workers 2\n1\n\n")[0] == "complete"


def test_no_colours_where_none_are_wanted(shell):
    shell.colors = "nocolor"
    with pytest.raises(UsageError) as caught:
        twister2(shell, "stats")
    assert caught.value._render_traceback_() == ["UsageError: there is no verb 'stats'; did you mean status?"]
