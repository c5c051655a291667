"""The own words of the views that the lab extension shows: each goes through the catalogue of the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from t2notebook.views.modules import STATIC, text_of
from tests.views.test_modules import needed

#: What the lab extension imports; `dash` is a page of its own.
SHOWN = (
    "job_view.js",
    "stream_source.js",
    "cluster_view.js",
    "cluster_source.js",
    "resource_form.js",
    "form_source.js",
)
MODULES = sorted({name for start in SHOWN for name in needed(start)} - {"words.js", "relay.js"})
#: All words, for whoever translates them. `python -m tests.views.test_words` writes it anew.
LIST = Path(__file__).with_name("words.txt")

_COMMENT = re.compile(r"/\*.*?\*/|^\s*//.*?$|\s// .*?$", re.MULTILINE | re.DOTALL)
_CALL = re.compile(r"\btrans\.(__|_n)\(\s*")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
#: A literal that reads like a word: with a capital letter, or of several.
_WORD = re.compile(r"[A-Z][a-z]+|[a-z]{2,} [a-z]{2,}")
#: Literals that nobody reads.
_NAMES = re.compile(
    r"\b(Arrow(Down|Up|Left|Right)|Home|End|Enter|Escape|Authorization|X-XSRFToken|[MGT]iB)\b"
    r"|[\w.:-]*\b(t2|jp)-[\w-]*|%twister2 attach|^`Mesos `$|It could not|display: none !important"
)


def code(name: str) -> str:
    """Return a module without its comments."""
    return _COMMENT.sub("", text_of(name))


def words(text: str) -> list[tuple[str, ...]]:
    """Return what is asked of the catalogue: a text, or a singular and a plural."""
    found = []
    for call in _CALL.finditer(text):
        first = _TEXT.match(text, call.end())
        assert first, f"no literal in {text[call.start() : call.end() + 60]!r}"
        if call[1] == "__":
            found.append((first[1],))
            continue
        second = _TEXT.match(text, text.index('"', first.end()))
        assert second, text[call.start() : call.end() + 120]
        found.append((first[1], second[1]))
    return found


def all_words() -> list[str]:
    """Return each text once, a plural behind its singular."""
    return sorted(
        {" | ".join(each) for name in MODULES for each in words(code(name))},
        key=lambda text: (text.lower(), text),
    )


def test_the_list_has_all_words() -> None:
    assert LIST.read_text(encoding="utf-8").splitlines() == all_words(), "python -m tests.views.test_words"


@pytest.mark.parametrize("name", MODULES)
def test_no_word_passes_by_the_catalogue(name: str) -> None:
    text = code(name)
    for each in words(text):
        placeholders = [set(re.findall(r"%\d", one)) for one in each]
        # of a plural, %1 is the number
        assert placeholders[0] == placeholders[-1] and "%%" not in "".join(each), each
    text = re.sub(r"^import .*?;$|throw new Error\(.*?\);", "", text, flags=re.MULTILINE | re.DOTALL)
    rest = re.sub(r"trans\.(__|_n)\(\s*" + _TEXT.pattern + r'(,\s*"[^"]*")?', "", text)
    literals = re.findall(r'"[^"\n]*"|`[^`]*`', rest)
    plain = [re.sub(r"\$\{(?:[^{}]|\{[^{}]*\})*\}", "", literal) for literal in literals]
    assert [one for one in plain if _WORD.search(_NAMES.sub("", one))] == []


def test_whoever_takes_a_catalogue_is_given_one() -> None:
    takers = set()
    for name in MODULES:
        for found in re.finditer(
            r"class (\w+)[^}]*?constructor\(([^)]*)\)|function (\w+)\(([^)]*)\)", code(name)
        ):
            if re.search(r"\btrans\b", found[2] or found[4] or ""):
                takers.add(found[1] or found[3])
    assert {"JobPanel", "JobHeader", "KillButton", "Timeline", "phasesText", "workerColumns"} <= takers
    for name in MODULES:
        text = code(name)
        for call in re.finditer(
            rf"(?<!function )(?<!class )\b({'|'.join(sorted(takers - {'render'}))})\(", text
        ):
            depth, at = 1, call.end()
            while depth:
                depth += {"(": 1, ")": -1}.get(text[at], 0)
                at += 1
            assert re.search(r"\btrans\b", text[call.end() : at]), f"{name}: {text[call.start() : at]}"


if __name__ == "__main__":
    assert STATIC
    LIST.write_text("\n".join(all_words()) + "\n", encoding="utf-8")
