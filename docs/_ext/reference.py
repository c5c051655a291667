"""Pages written from the code: verbs from their parsers, settings from `Config`, the examples as they are saved."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: What fits beside the page's lists.
COLUMNS = "88"


def write(folder: Path) -> None:
    """Write all generated pages into `folder`, anew."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "examples").mkdir(parents=True)
    os.environ["COLUMNS"] = COLUMNS  # argparse wraps by it
    (folder / "verbs.md").write_text("\n".join(verbs()) + "\n")
    (folder / "settings.md").write_text("\n".join(settings()) + "\n")
    (folder / "names.md").write_text("\n".join(names()) + "\n")
    for notebook in (ROOT / "examples").glob("*.ipynb"):
        shutil.copy(notebook, folder / "examples")


def verbs() -> Iterator[str]:
    """Yield the lines of the verbs' page."""
    from t2notebook.notebook.magics.dispatch import VERBS, parser_of

    yield "## In a notebook\n"
    yield "`%load_ext t2notebook` brings them; `%twister2 VERB --help` prints what stands here, and Tab completes.\n"
    for verb in VERBS:
        yield f"### {verb}\n"
        yield f"```text\n{parser_of(verb).format_help().strip()}\n```\n"
    yield "## On the command line\n"
    overview = _help()
    yield f"```text\n{overview}\n```\n"
    for verb in re.findall(r"^    ([a-z][a-z-]*)", overview, re.MULTILINE):
        yield f"### t2notebook {verb}\n"
        yield f"```text\n{_help(verb)}\n```\n"


def _help(*words: str) -> str:
    from t2notebook import cli

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        cli.main([*words, "--help"])
    return said.getvalue().strip()


def settings() -> Iterator[str]:
    """Yield the lines of the settings' table."""
    from t2notebook.config import Config

    text = inspect.cleandoc(Config.__doc__ or "").partition("----------\n")[2]
    meaning = {}
    for entry in re.split(r"\n(?=\S)", text):
        head, _, rest = entry.partition("\n")
        names = [name.strip() for name in head.partition(" :")[0].split(",")]
        for name in names:
            meaning[name] = " ".join(rest.split()).replace("|", r"\|").replace("``", "`")
    yield "| setting | default | variable | meaning |"
    yield "| --- | --- | --- | --- |"
    for one in fields(Config):
        yield f"| `{one.name}` | `{one.default!r}` | `T2_{one.name.upper()}` | {meaning[one.name]} |"


def names() -> Iterator[str]:
    """Yield directives for the public names that the page of the API does not place itself."""
    import t2notebook

    page = (ROOT / "docs/api.md").read_text()
    placed = set(re.findall(r"^\.\. auto\w+:: (?:t2notebook\.)?(\w+)$", page, re.MULTILINE))
    rest = [name for name in t2notebook.__all__ if name not in placed and not name.startswith("_")]
    if rest:
        yield "## More\n"
        yield "```{eval-rst}"
        for name in rest:
            kind, members = "function", ""
            if inspect.isclass(found := getattr(t2notebook, name)):
                raised = issubclass(found, BaseException)
                kind, members = ("exception", "") if raised else ("class", "\n   :members:")
            yield f".. auto{kind}:: t2notebook.{name}{members}"
        yield "```"
