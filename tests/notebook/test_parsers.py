import pytest

from t2notebook.notebook.errors import UsageError
from t2notebook.notebook.magics.dispatch import VERBS, overview, parser_of
from t2notebook.notebook.magics.parser import HelpRequested, split


def parse(line):
    verb, *words = split(line, "%twister2")
    return parser_of(verb).parse(words)


def test_submit_has_the_defaults_of_a_compute_resource():
    found = vars(parse("submit"))
    assert found == {
        "name": None,
        "workers": 1,
        "cpus": 1.0,
        "ram": 512.0,
        "disk": 0.0,
        "workers_per_executor": "max",
        "gpus": 0,
        "ports": 0,
        "image": "",
        "nodes": [],
        "where": "",
        "gang": False,
        "gang_timeout": 30.0,
        "max_restarts": 5,
        "keep_going": False,
        "scalable": False,
        "replace": False,
        "on_exit": None,
        "persistent_volume": "",
        "time_limit": None,
        "debug": False,
        "debug_timeout": 600.0,
        "setenv": [],
        "discovery": "",
        "job_master": "session",
        "include": [],
        "file": [],
        "output": None,
        "wait": False,
        "on_interrupt": "kill",
        "follow": False,
        "form": False,
        "dry_run": False,
    }


def test_submit_understands_every_option():
    line = (
        'submit --name "my job" --workers 4 --cpus .5 --ram 256 --disk 1.5 --workers-per-executor 2 '
        "--gpus 1 --ports 2 --image python:3.12-slim --nodes h1,h2 --where rack=r1,unique:hostname "
        "--gang --gang-timeout 5 --max-restarts 0 "
        "--persistent-volume /mnt/t2 --time-limit 60 --setenv A --setenv B "
        "--keep-going --scalable --discovery zookeeper --job-master cluster "
        "--replace --on-exit detach -i a,b --include c --file data.csv --file 'img/*.png' "
        "-o job --wait --on-interrupt detach --follow --form --dry-run"
    )
    assert vars(parse(line)) == {
        "name": "my job",
        "workers": 4,
        "cpus": 0.5,
        "ram": 256.0,
        "disk": 1.5,
        "workers_per_executor": 2,
        "gpus": 1,
        "ports": 2,
        "image": "python:3.12-slim",
        "nodes": ["h1", "h2"],
        "where": "rack=r1,unique:hostname",
        "gang": True,
        "gang_timeout": 5.0,
        "max_restarts": 0,
        "keep_going": True,
        "scalable": True,
        "replace": True,
        "on_exit": "detach",
        "persistent_volume": "/mnt/t2",
        "time_limit": 60.0,
        "debug": False,
        "debug_timeout": 600.0,
        "setenv": ["A", "B"],
        "discovery": "zookeeper",
        "job_master": "cluster",
        "include": ["a", "b", "c"],
        "file": ["data.csv", "img/*.png"],
        "output": "job",
        "wait": True,
        "on_interrupt": "detach",
        "follow": True,
        "form": True,
        "dry_run": True,
    }
    assert parse("submit --workers-per-executor max").workers_per_executor == "max"
    assert parse("submit --workers=3").workers == 3
    assert parse("""submit --where 'note="a,b"|c'""").where == 'note="a,b"|c'
    assert parse("submit --cpu 2").cpus == 2
    assert parse("submit --ram 1GB").ram == parse("submit --ram '1 gib'").ram == 1024
    assert parse("submit --ram-mega-bytes 64").ram == 64 and parse("submit --disk-giga-bytes 2").disk == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("submit --workers 0", "--workers is 0; give a whole number from 1"),
        ("submit --workers -2", "--workers is -2; give a whole number from 1"),
        ("submit --workers four", "--workers is four; give a whole number from 1"),
        ("submit --workers 1.5", "--workers is 1.5; give a whole number from 1"),
        ("submit --cpus 0", "--cpus is 0; give more than 0, cpus per worker"),
        ("submit --cpus -1", "--cpus is -1; give more than 0, cpus per worker"),
        ("submit --cpus one", "--cpus is one; give a number, cpus per worker"),
        ("submit --cpus nan", "--cpus is nan; give a number, cpus per worker"),
        ("submit --ram 0", "--ram is 0; give more than 0, MiB per worker"),
        ("submit --ram -256", "--ram is -256; give more than 0, MiB per worker"),
        ("submit --ram much", "--ram is much; give a number, MiB per worker, or one with a unit: 1GB"),
        ("submit --on-exit stay", "--on-exit is 'stay'; give kill or detach"),
        ("logs job --tail -1", "--tail is -1; give a whole number from 0"),
        ("submit --disk -1", "--disk is -1; give 0 or more, GiB per worker"),
        (
            "submit --workers-per-executor 0",
            "--workers-per-executor is 0; give a whole number from 1 or max",
        ),
        ("submit --ports -1", "--ports is -1; give a whole number from 0"),
        ("submit --gpus half", "--gpus is half; give a whole number from 0"),
        ("submit --nodes h1,,h2", "--nodes is 'h1,,h2'; give names with commas between them"),
        ("submit --gang-timeout 0", "--gang-timeout is 0; give more than 0, seconds"),
        ("submit --gang=yes", "--gang takes no value (%%twister2 submit --help)"),
        ("submit --max-restarts -1", "--max-restarts is -1; give a whole number from 0"),
        ("submit --output 3x", "--output is '3x'; give the name of a variable"),
        ("submit -o for", "--output is 'for'; give the name of a variable"),
        ("submit -i a,b-c", "--include is 'b-c'; give the name of a variable"),
        (
            "submit --worker 4",
            "unknown option --worker; did you mean --workers? (%%twister2 submit --help)",
        ),
        ("submit --frobnicate", "unknown option --frobnicate (%%twister2 submit --help)"),
        ("submit --frobnicate=3", "unknown option --frobnicate (%%twister2 submit --help)"),
        ("submit four", "'four' is one argument too many (%%twister2 submit --help)"),
        ("submit --workers", "--workers needs a value (%%twister2 submit --help)"),
        ("submit -o", "-o/--output needs a value (%%twister2 submit --help)"),
        ("submit --wait=yes", "--wait takes no value (%%twister2 submit --help)"),
        ('submit --name "pi', "%twister2: no closing quotation in 'submit --name \"pi'"),
        ("status a b", "'b' is one argument too many (%twister2 status --help)"),
        ("list x", "'x' is one argument too many (%twister2 list --help)"),
        ("logs", "JOB is missing (%twister2 logs --help)"),
        ("logs job one", "WORKER is one; give a whole number from 0"),
        ("logs job 0 --folow", "unknown option --folow; did you mean --follow? (%twister2 logs --help)"),
        ("why", "JOB is missing (%twister2 why --help)"),
        ("kill", "JOB is missing (%twister2 kill --help)"),
        ("attach", "JOB is missing (%twister2 attach --help)"),
        ("config --set", "unknown option --set (%twister2 config --help)"),
    ],
)
def test_a_mistake_is_one_line(line, message):
    with pytest.raises(UsageError) as caught:
        parse(line)
    assert str(caught.value) == message


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_verb_has_its_help(verb, option):
    with pytest.raises(HelpRequested) as caught:
        parse(f"{verb} --nonsense {option}")
    text = caught.value.text
    assert text.startswith(f"usage: {parser_of(verb).prog}")
    assert parser_of(verb).summary in text
    for name in parser_of(verb).options():
        assert name in text


def test_the_overview_names_every_verb():
    text = overview()
    assert all(parser_of(verb).prog in text and parser_of(verb).summary in text for verb in VERBS)


def test_values_that_begin_with_a_dash_are_values():
    assert vars(parse("logs job 2 -f --stderr")) == {
        "job": "job",
        "worker": 2,
        "follow": True,
        "stderr": True,
        "tail": None,
    }
    assert parse("logs job --tail 3").worker is None
