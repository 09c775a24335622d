"""The table in advisories.md is whole and true: every class, and only tests that there are."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CLASSES = [
    "log entry not bound to the artifact", "wrong predicate type accepted",
    "payload that fails to parse taken as success", "one key counted twice",
    "tag moved between check and run",
    'user-supplied "verified" annotation', "outdated but signed artifact", "endless signatures and data",
    "time from an unsigned field", "traversal in a tar", "symlink in a tar", "hard link in a tar",
    "device in a tar", "duplicate tar members", "tar that two readers read differently",
    "diffID is not the digest", "decompression bombs", "duplicate JSON keys", "confusable names",
    "deep nesting", "signature malleability", "empty signature arrays", "algorithm confusion",
    "layer changed after unpack", "layer changed between check and mount",
]
_ADVISORY = re.compile(r"CVE-\d{4}-\d{4,}|GHSA(?:-[a-z0-9]{4}){3}|go-tuf#\d+")


@dataclass(frozen=True)
class Row:
    name: str
    advisories: tuple[str, ...]
    tests: tuple[str, ...]


def _rows() -> list[Row]:
    lines = (TESTS / "attack" / "advisories.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [Row(name, tuple(_ADVISORY.findall(known)), tuple(re.findall(r"`([^`]+)`", tried)))
            for name, known, tried in cells[2:]]


ROWS = _rows()


@cache
def _module(place: str) -> ast.Module:
    return ast.parse((TESTS / place).read_text(encoding="utf-8"))


def _function(test: str) -> ast.FunctionDef | None:
    """The function of ``place::name[row]``."""
    place, _, name = test.partition("::")
    wanted = name.partition("[")[0]
    functions = (one for one in ast.walk(_module(place)) if isinstance(one, ast.FunctionDef))
    return next((one for one in functions if one.name == wanted), None)


def _row_exists(test: str) -> bool:
    """Whether the row in brackets, if there is one, is a text in the test's module."""
    place, _, name = test.partition("::")
    row = name.partition("[")[2].removesuffix("]")
    texts = {one.value for one in ast.walk(_module(place)) if isinstance(one, ast.Constant)}
    return not row or row in texts


def test_every_class_has_its_row_once() -> None:
    assert [row.name for row in ROWS] == CLASSES


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_every_test_of_the_table_exists(row: Row) -> None:
    assert row.tests, "nothing tries it"
    for test in row.tests:
        assert _function(test) is not None, test
        assert _row_exists(test), test


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_every_advisory_is_named_by_a_test_of_its_row(row: Row) -> None:
    functions = [function for test in row.tests if (function := _function(test))]
    said = " ".join([*row.tests, *(ast.get_docstring(function) or "" for function in functions)])
    assert [one for one in row.advisories if one not in said] == []


def test_no_advisory_is_tried_that_the_table_does_not_name() -> None:
    known = {one for row in ROWS for one in row.advisories}
    for place in sorted((TESTS / "attack").glob("test_*.py")):
        assert set(_ADVISORY.findall(place.read_text(encoding="utf-8"))) <= known, place.name
