"""vordr undo and redo: the plan first, a question only where it makes sense, the act as planned."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
from cli_engine import TXN, MemoryEngine, Program, receipt

from vordr.model import answers, errors

OTHER = "0199aaaa-bbbb-7ccc-8ddd-ffffffffffff"


def plan(*undone: tuple[str, str], losses: tuple[str, ...] = (), done: bool = False) -> answers.UndoAnswer:
    step = answers.PlannedStep(
        subject="container/1", name="web", operation="revive", text="start the process again", losses=losses)
    return answers.UndoAnswer(
        undone=undone or ((TXN, "stop web"),), steps=(step,), losses=losses, stays=("what was logged",),
        receipt=receipt() if done else None)


def world(losses: tuple[str, ...] = ("memory of the process",), undone=((TXN, "stop web"),)) -> MemoryEngine:
    engine = MemoryEngine()
    for operation in ("undo", "redo"):
        engine.scripts[operation] = lambda args: plan(*undone, losses=losses, done=not args.dry_run)
    return engine


def test_a_dry_run_shows_the_plan_and_acts_on_nothing(capfd):
    engine = world()
    outcome = Program(engine, capfd)("undo", "--dry-run")
    assert outcome.out.splitlines() == [
        f"Undo {TXN}  stop web", "  1. web: start the process again", "Cannot come back:",
        "  - memory of the process", "Stays as it is:", "  - what was logged"]
    assert [args.dry_run for args in engine.of("undo")] == [True]


def test_an_undo_shows_its_plan_acts_and_names_its_transaction(capfd):
    engine = world()
    outcome = Program(engine, capfd)("undo")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == f"Undo {TXN}  stop web"
    assert outcome.out.splitlines()[-1] == receipt().txn
    assert [args.dry_run for args in engine.of("undo")] == [True, False]


def test_the_act_that_was_shown_is_the_act_that_is_undone(capfd):
    engine = world()
    Program(engine, capfd)("undo", "--last")
    assert engine.of("undo")[1].txn == TXN


def test_several_acts_are_undone_as_they_were_asked_for(capfd):
    engine = world(undone=((TXN, "a"), (OTHER, "b")))
    Program(engine, capfd)("undo", "web", "--steps", "2", "--cascade")
    asked, acted = engine.of("undo")
    assert (asked.container, asked.steps, asked.cascade) == ("web", 2, True)
    assert (acted.container, acted.steps, acted.cascade, acted.txn) == ("web", 2, True, None)


@pytest.mark.parametrize(("words", "fields"), [
    ([TXN], {"txn": TXN}), ([TXN[:18]], {"txn": TXN[:18]}), (["deadbeef"], {"container": "deadbeef"}),
    (["web"], {"container": "web"}), (["--to", "12"], {"to": 12}), (["--steps", "3"], {"steps": 3}),
])
def test_what_is_undone_is_told_by_its_form(capfd, words, fields):
    engine = world()
    Program(engine, capfd)("undo", "--dry-run", *words)
    args = engine.of("undo")[0]
    assert {name: getattr(args, name) for name in fields} == fields


@pytest.mark.parametrize("words", [["--last", "web"], ["--to", "3", "web"], ["--last", "--to", "3"]])
def test_two_ways_of_saying_what_exclude_each_other(capfd, words):
    assert Program(world(), capfd)("undo", *words).code == 2


def test_json_gives_the_answer_only(capfd):
    told = json.loads(Program(world(), capfd)("undo", "--json").out)
    assert told["receipt"]["txn"] == receipt().txn


def test_a_blocked_undo_names_what_is_in_the_way(capfd):
    engine = MemoryEngine()
    engine.scripts["undo"] = errors.UndoBlocked(
        "cannot undo: rm web came later", details={"blocked_by": [{"txn": OTHER}]}, remedy="--cascade")
    outcome = Program(engine, capfd)("undo", TXN)
    assert outcome.code == 82
    assert OTHER in outcome.err


def test_redo_names_the_undo_that_was_shown(capfd):
    engine = world()
    assert Program(engine, capfd)("redo").code == 0
    shown, acted = engine.of("redo")
    assert (shown.txn, shown.dry_run, acted.txn, acted.dry_run) == (None, True, TXN, False)


# -- asking --------------------------------------------------------------------------------------------

_ON_A_TERMINAL = """
import sys
from test_cli_undo import world
from vordr.cli import entry
from vordr.cli.context import Session
engine = world({losses!r})
code = entry.run({words!r}, Session(opener=lambda root: engine))
print("acted", [args.dry_run for args in engine.of("undo")])
sys.exit(code)
"""


def at_a_terminal(words: list[str], losses: tuple[str, ...], typed: bytes) -> tuple[int, str]:
    """Run undo with standard input at a pseudo-terminal; its exit code and all it wrote."""
    person, ours = pty.openpty()
    os.write(person, typed)
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_TERMINAL.format(losses=losses, words=["undo", *words])], stdin=ours,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=os.path.dirname(__file__), timeout=30,
        check=False)
    os.close(person)
    os.close(ours)
    return done.returncode, done.stdout.decode()


LOSSES = ("memory of the process",)


@pytest.mark.parametrize(("words", "losses", "typed", "code", "acts"), [
    ([], LOSSES, b"n\n", 1, "[True]"), ([], LOSSES, b"y\n", 0, "[True, False]"),
    ([], LOSSES, b"\n", 1, "[True]"),
    (["--yes"], LOSSES, b"", 0, "[True, False]"), ([], (), b"", 0, "[True, False]"),
])
def test_a_person_is_asked_only_when_something_would_be_lost(words, losses, typed, code, acts):
    got, said = at_a_terminal(words, losses, typed)
    assert (got, f"acted {acts}" in said) == (code, True), said
