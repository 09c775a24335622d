"""The lifecycle table that runs is the one that is proved: every cell of the Coq model against the Python's.

``proofs/generated/lifecycle.json`` is printed by Coq from proofs/Lifecycle.v (``make proofs``).
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vordr.model import lifecycle
from vordr.model.errors import VordrError
from vordr.model.lifecycle import ROWS, TABLE, Op, State, allowed, makes_process, target
from vordr.model.spec import ContainerSpec
from vordr.model.state import ContainerState, Generation
from vordr.model.steps import Facts, advance

PROOFS = Path(__file__).parents[2] / "proofs"
PROVED: dict[str, Any] = json.loads((PROOFS / "generated" / "lifecycle.json").read_text())
FACTS = Facts(time=1_700_000_000_000_000, txn="txn", boot_id="boot")
WANTED = (None, *State)

Cell = tuple[str, str, str | None]
CELLS: dict[Cell, dict[str, Any]] = {
    (cell["op"], cell["state"], cell["to"]): cell for cell in PROVED["cells"]}


def name(op: Op, state: State, wanted: State | None) -> str:
    return f"cell {op} from {state}" + (f" to {wanted}" if wanted else "")


def sample(state: State) -> ContainerState:
    """``sample`` of proofs/Print.v."""
    return ContainerState(
        id="1", name="web", image="sha256:07", image_name="web", spec=ContainerSpec(), state=state,
        addresses=("10.0.0.10",), ports=("80",), generations=(Generation(1, 5), Generation(2, 6)))


def advanced(op: Op, state: State, wanted: State | None) -> dict[str, Any] | None:
    """What steps.advance makes of the sample, in the words of the generated table."""
    before = None if state is State.IMAGE_ONLY else sample(state)
    args: dict[str, Any] = {
        "container": msgspec.to_builtins(sample(State.STOPPED)),
        "generation": 2 if op is Op.UNSTART else 3, "opened": 7}
    if wanted is not None:
        args["to"] = str(wanted)
    try:
        result = advance(op, before, args, FACTS)
    except (VordrError, KeyError):
        return None
    after = result.container
    return {
        "state": str(State.IMAGE_ONLY if after is None else after.state),
        "generations": None if after is None else [g.number for g in after.generations],
        "inverse": result.inverse.operation,
        "inverse_to": result.inverse.args.get("to"),
    }


def leads(op: Op, state: State, wanted: State | None) -> str | None:
    try:
        return str(target(op, state, wanted))
    except VordrError:
        return None


def differences() -> list[str]:
    """Each cell in which the Python differs from the model, in words."""
    found: list[str] = []
    for op, state, wanted in product(Op, State, WANTED):
        proved = CELLS.get((op, state, wanted), {"leads": None, "advance": None})
        cell = name(op, state, wanted)
        if (ours := leads(op, state, wanted)) != proved["leads"]:
            found.append(f"{cell}: leads to {ours} here, to {proved['leads']} in the proof")
        if (made := advanced(op, state, wanted)) != proved["advance"]:
            found.append(f"{cell}: advance gives {made} here, {proved['advance']} in the proof")
    for row in PROVED["rows"]:
        op = Op(row["op"])
        ours_, memory = ROWS[op], ROWS[op].loss is not None
        for field, value in (
            ("sources", [str(s) for s in ours_.sources]), ("targets", [str(s) for s in ours_.targets]),
            ("inverse", str(ours_.inverse)), ("fidelity", str(ours_.fidelity)), ("loses_memory", memory),
            ("creates_process", ours_.creates_process), ("direct", ours_.direct),
        ):
            if value != row[field]:
                found.append(f"row {op}: {field} is {value} here, {row[field]} in the proof")
    return found


def test_states_and_operations_are_those_of_the_proof() -> None:
    assert [str(state) for state in State] == PROVED["states"]
    assert [str(row.op) for row in TABLE] == [row["op"] for row in PROVED["rows"]]
    assert {row.op for row in TABLE} == set(Op)


def test_every_cell_of_the_table_is_the_proved_one() -> None:
    assert not (found := differences()), "\n".join(found)


def test_every_step_that_makes_a_process_is_the_proved_one() -> None:
    for cell in PROVED["cells"]:
        op, wanted = Op(cell["op"]), None if cell["to"] is None else State(cell["to"])
        assert makes_process(op, wanted) is cell["process"], name(op, State(cell["state"]), wanted)


def test_what_people_may_ask_for_is_what_is_proved() -> None:
    for state in State:
        assert [str(op) for op in allowed(state)] == PROVED["allowed"][state], f"allowed in {state}"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row.op))
def test_a_changed_cell_is_found_and_named(row: lifecycle.Row, monkeypatch: pytest.MonkeyPatch) -> None:
    wider = next(state for state in State if state not in row.sources)
    changed = dataclasses.replace(row, sources=(*row.sources, wider))
    monkeypatch.setitem(ROWS, row.op, changed)
    found = differences()
    assert any(f"row {row.op}: sources" in line for line in found)
    if len(row.targets) == 1:
        assert f"cell {row.op} from {wider}: leads to {row.targets[0]} here, to None in the proof" in found


ROW = f"  | pause    => Row [running]{17 * ' '}[paused]{19 * ' '}resume   exact    false false true"


@pytest.mark.parametrize(("changed", "named"), [
    (ROW, []),
    (ROW.replace("[running]", "[running; stopped]"), ["cell pause from stopped: new in Lifecycle.v"]),
    (ROW.replace("[running]", "[]"), ["cell pause from running: gone in Lifecycle.v"]),
    (ROW.replace("[paused]", "[stopped]"), ["row pause: targets is ['stopped'] in Lifecycle.v"]),
    (ROW.replace("resume", "revive"), ["row pause: inverse is revive in Lifecycle.v, resume as it was"]),
    (ROW.replace("exact", "declared"), ["row pause: fidelity is state in Lifecycle.v"]),
    (ROW.replace("false true", "true true"), ["row pause: creates_process is True in Lifecycle.v"]),
    (ROW[:-4] + "false", ["row pause: direct is False in Lifecycle.v, True as it was proved"]),
    ("", ["row pause: is not to be read in Lifecycle.v"]),
])
def test_a_changed_line_of_the_theorys_table_is_named_where_coq_refuses_it(
    changed: str, named: list[str], tmp_path: Path
) -> None:
    """What the Makefile prints beside Coq's own error, which speaks of a theorem."""
    theory = (PROOFS / "Lifecycle.v").read_text()
    assert theory.count(ROW) == 1
    (tmp_path / "Lifecycle.v").write_text(theory.replace(ROW, changed))
    printed = str(PROOFS / "generated" / "lifecycle.json")
    told = subprocess.run(
        [sys.executable, str(PROOFS / "changed.py"), "Lifecycle.v", printed], cwd=tmp_path,
        capture_output=True, text=True, check=True)
    lines = told.stderr.splitlines()
    assert len(lines) == len(named)
    assert all(line.startswith(f"proofs: {words}") for line, words in zip(lines, named, strict=True)), lines


@pytest.mark.skipif(shutil.which("coqc") is None, reason="needs coqc (Debian: coq)")
def test_the_generated_table_is_what_coq_prints(tmp_path: Path) -> None:
    for theory in ("Lifecycle.v", "Print.v"):
        shutil.copy(PROOFS / theory, tmp_path)
    shutil.copy(PROOFS / "Makefile", tmp_path)
    done = subprocess.run(
        ["make", "-s", "-C", str(tmp_path), "generated"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = json.loads((tmp_path / "generated" / "lifecycle.json").read_text())
    for part in PROVED:
        old, new = PROVED[part], printed[part]
        if old != new and isinstance(old, list):
            shown = [*(new_ for new_ in new if new_ not in old), *(old_ for old_ in old if old_ not in new)]
            pytest.fail(f"proofs/Lifecycle.v changed {part}, run `make proofs`: {shown}")
        assert old == new, f"proofs/Lifecycle.v changed {part}: run `make proofs`"
