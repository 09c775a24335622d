"""The published profiles, tried; and docs/conformance.md, which says what came of it."""

from __future__ import annotations

from pathlib import Path

import page
import pytest
from bench import read_published
from scenes import SCENES

ROWS = [row for _, _, row in page.requirements()]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    return page.outcomes(tmp_path_factory.mktemp("profiles"))


@pytest.mark.parametrize("name", [row["id"] for row in ROWS])
def test_a_requirement_is_held_or_its_deviation_has_a_reason(name: str, results: dict[str, bool]) -> None:
    assert results[name] is not (name in page.REASONS)


def test_every_reason_note_and_scene_is_of_a_published_requirement() -> None:
    ids = {row["id"] for row in ROWS}
    assert len(ids) == len(ROWS)
    assert set(page.REASONS) | set(page.NOTES) | set(page.SHOWN_BY) | set(SCENES) <= ids
    assert not set(page.REASONS) & (set(page.NOTES) | set(page.SHOWN_BY))
    assert not set(SCENES) & set(page.SHOWN_BY)


def test_every_test_that_is_said_to_show_a_requirement_is_there() -> None:
    files = list((page.ROOT / "tests").rglob("test_*.py"))
    for name in page.SHOWN_BY.values():
        assert any(f"def {name}(" in file.read_text(encoding="utf-8") for file in files), name


def test_the_page_says_what_came_of_the_profiles(results: dict[str, bool], tmp_path: Path) -> None:
    written = page.PAGE.read_text(encoding="utf-8")
    assert written == page.text(results, tmp_path), "run: python tests/conformance/page.py"


def test_the_page_has_a_row_for_every_requirement_and_deviation() -> None:
    written = page.PAGE.read_text(encoding="utf-8")
    for row in ROWS:
        assert written.count(f"\n| {row['id']} | ") == 1
    assert all(reason in written for reason in (*page.REASONS.values(), *page.VECTORS.values()))


@pytest.mark.parametrize(("expected", "observed", "met"), [
    ({"exitCode": 0}, {"exitCode": 0, "more": 1}, True), ({"exitCode": 0}, {"exitCode": 1}, False),
    ({"exitCode": 0}, {}, False),
    ({"n": {"minimum": 2}}, {"n": 2}, True), ({"n": {"minimum": 2}}, {"n": 1}, False),
    ({"a": True, "b": True}, {"a": True, "b": False}, False),
])
def test_a_requirement_is_met_by_all_that_it_expects(
    expected: dict[str, object], observed: dict[str, object], met: bool
) -> None:
    assert page.meets(expected, observed) is met


def test_a_part_of_a_published_file_is_found_by_its_pointer() -> None:
    place = "vectors/valid/attestation-bundle/minimal-valid-bundle.json#/input/logEntries/0/inclusionProof"
    assert read_published(place)["logIndex"] == 12345
