"""The documents say what the code says: generated pages, links, names of commands."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from vordr.cli.commands import COMMANDS
from vordr.model.lifecycle import TABLE

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted({ROOT / "README.md", *(ROOT / "docs").rglob("*.md")})

_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
# In code: `vordr …`, or a line of a shown session.
_CODE = re.compile(r"`(?:sudo )?vordr ([^`\n]*)`|^ *[$#] (?:sudo )?vordr (.*)$", re.MULTILINE)
_PATH = re.compile(r"`((?:vordr|tests|docs|config|benchmarks)/[\w./-]+\.(?:py|md|json|toml|service))`")
_OPTIONS_WITH_VALUE = {"--root", "--log-level"}


def _name(document: Path) -> str:
    return str(document.relative_to(ROOT))


def _text(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def _anchors(document: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them from its headings."""
    headings = _HEADING.findall(_FENCE.sub("", _text(document)))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {words.replace(" ", "-") for words in plain}


def broken_links(document: Path) -> Iterator[str]:
    """Relative links of a page that lead nowhere, and anchors that no heading makes."""
    for match in _LINK.finditer(_FENCE.sub("", _text(document))):
        link = match[1] or match[2]
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            yield link


def named_commands(text: str) -> Iterator[str]:
    """The command words after ``vordr`` in code, behind global options. Capitals are placeholders."""
    for match in _CODE.finditer(text):
        words = iter((match[1] or match[2] or "").split())
        for word in words:
            if word in _OPTIONS_WITH_VALUE:
                next(words, None)
            elif not word.startswith("-"):
                if not word.isupper():
                    yield word
                break


def _lifecycle_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_lifecycle", ROOT / "docs" / "make_lifecycle.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lifecycle_page_is_made_from_the_table() -> None:
    script = _lifecycle_script()
    assert _text(script.PAGE) == script.text(), "run: python docs/make_lifecycle.py"


def test_the_lifecycle_page_has_a_row_for_every_operation() -> None:
    page = _text(ROOT / "docs" / "lifecycle.md")
    assert all(page.count(f"\n| `{row.op}` | ") == 1 for row in TABLE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    assert list(broken_links(document)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_command_named_in_a_document_exists(document: Path) -> None:
    assert {word for word in named_commands(_text(document)) if word not in COMMANDS} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_file_named_in_a_document_exists(document: Path) -> None:
    assert {path for path in _PATH.findall(_text(document)) if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_test_named_in_a_document_exists(document: Path) -> None:
    named = set(re.findall(r"`(test_\w+)`", _text(document)))
    assert named <= _tests(), sorted(named - _tests())


def _tests() -> set[str]:
    """Names of all test functions, and of the files they are in."""
    files = list((ROOT / "tests").rglob("test_*.py"))
    functions = {name for file in files for name in re.findall(r"def (test_\w+)", _text(file))}
    return functions | {file.stem for file in files}


def test_decisions_are_numbered_without_gaps_and_say_all_three_parts() -> None:
    pages = sorted(page for page in (ROOT / "docs" / "decisions").glob("*.md") if page.name != "README.md")
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = _text(page)
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequence")), page.name


def test_the_readers_of_this_module_find_what_they_look_for(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A b-c\n[x](gone.md) [y](#a-b-c) [z](#no) [w](https://example.com)\n```\n[v](in.md)\n```\n")
    assert list(broken_links(page)) == ["gone.md", "#no"]
    told = "`vordr --root DIR fly`, `sudo vordr ps -a`, `vordr COMMAND`\n    $ vordr nest\nnot vordr code\n"
    assert list(named_commands(told)) == ["fly", "ps", "nest"]
