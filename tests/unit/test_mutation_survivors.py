"""What `make mutation` lets pass: killed mutants, and survivors whose very change has a reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "mutation"))

from run import Mutant, compare, known  # noqa: E402 - the folder is no package

KILLED = Mutant("vordr.model.plan.x_live__mutmut_1", "vordr/model/plan.py", killed=True)
LIVES = Mutant("vordr.model.plan.x_live__mutmut_2", "vordr/model/plan.py", False, "", "plan.live", "- a  + b")
REASONS = {("plan.live", "- a  + b"): "the same"}


def test_a_survivor_without_a_reason_is_new() -> None:
    assert compare([KILLED, LIVES], {}) == ([LIVES], [])


@pytest.mark.parametrize("number", [2, 7])
def test_a_survivor_is_known_by_its_change_whatever_its_number(number: int) -> None:
    again = Mutant(f"vordr.model.plan.x_live__mutmut_{number}", *(getattr(LIVES, field) for field in (
        "module", "killed", "note", "function", "change")))
    assert compare([KILLED, again], REASONS) == ([], [])


def test_another_change_of_the_same_function_is_new_and_the_reason_is_without_its_mutant() -> None:
    other = Mutant(LIVES.name, LIVES.module, False, "", "plan.live", "- a  + c")
    assert compare([other], REASONS) == ([other], list(REASONS))


def test_a_reason_whose_mutant_is_killed_is_out_of_date_where_its_file_was_mutated() -> None:
    assert compare([KILLED], REASONS) == ([], list(REASONS))
    elsewhere = Mutant("vordr.formats.merkle.x_root__mutmut_1", "vordr/formats/merkle.py", killed=True)
    assert compare([elsewhere], REASONS) == ([], [])


def test_every_listed_survivor_has_a_reason() -> None:
    assert all(why.strip() for why in known().values())
