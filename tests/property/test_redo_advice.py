"""What a blocked redo advises leads to the redo; one that is said to be gone is never possible again."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from undo_history import START, STOP, History

from vordr.model.errors import NameInUse, UndoBlocked, VordrError
from vordr.model.lifecycle import Op
from vordr.model.plan import live, subjects, undoable

IDS, NAMES = "abc", ("web", "db")
MOVES = {"start": START, "stop": STOP, "pause": (Op.PAUSE, {}), "resume": (Op.RESUME, {}),
         "rm": (Op.REMOVE, {})}

move = st.one_of(
    st.tuples(st.just("run"), st.sampled_from(IDS), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from([*sorted(MOVES), "exit", "policy"]), st.sampled_from(IDS), st.none()),
    st.tuples(st.just("undo"), st.integers(0, 3), st.none()),
    st.tuples(st.just("redo"), st.integers(0, 3), st.none()))


def standing(history: History) -> list[str]:
    """The undos that a redo may be asked for, newest first."""
    return [act.txn for act in reversed(history.acts) if act.act == "undo" and live(act)]


def perform(history: History, kind: str, which: str | int, name: str | None) -> None:
    """One act of a history, or nothing where it would be refused."""
    with contextlib.suppress(VordrError):
        if kind == "run" and history.containers.get(which) is None and name not in history.names():
            history.run(which, name)
        elif kind in MOVES and history.containers.get(which) is not None:
            history.act(kind, (which, *MOVES[kind]))
        elif kind in ("exit", "policy") and history.containers.get(which) is not None:
            begun = [act.txn for act in history.acts
                     if act.act == "run" and f"container/{which}" in subjects(act)]
            if kind == "exit":
                history.exit(begun[-1], which)
            else:
                history.policy(begun[-1], Op.REVIVE, {"to": "running", "policy": True}, which)
        elif kind in ("undo", "redo"):
            there = standing(history) if kind == "redo" else [
                act.txn for act in reversed(history.acts) if undoable(act)]
            if which < len(there):
                history.undo(there[which], act=kind)


def follow(history: History, kind: str, txn: str, depth: int = 20) -> bool:
    """Do as told until the undo or redo goes through; False when it is said to be gone for good."""
    for _ in range(depth):
        try:
            history.undo(txn, act=kind)
            return True
        except UndoBlocked as error:
            remedy = error.remedy or ""
        if "anew" in remedy:
            return False
        *_, verb, first = remedy.split()
        assert follow(history, verb, first, depth - 1), f"{remedy}: leads nowhere"
    raise AssertionError("the advice goes on for ever")


histories = st.lists(move, min_size=4, max_size=16)


def lived(moves: list) -> History:
    history = History()
    history.run("a", "web")
    history.run("b", "db")
    for one in moves:
        perform(history, *one)
    return history


def gone(history: History) -> set[str]:
    """The standing undos of which it is said that they cannot be redone any more."""
    found = set()
    for txn in standing(history):
        try:
            history.plan(txn)
        except UndoBlocked as error:
            if "anew" in (error.remedy or ""):
                found.add(txn)
        except NameInUse:
            pass
    return found


@given(histories, st.integers(0, 9))
def test_following_the_advice_of_a_blocked_redo_leads_to_it(moves: list, which: int) -> None:
    history = lived(moves)
    if undos := standing(history):
        with contextlib.suppress(NameInUse):  # two that want one name: another refusal, with its own advice
            follow(history, "redo", undos[which % len(undos)])


@given(histories, st.lists(move, min_size=1, max_size=8))
def test_a_redo_that_is_gone_for_good_stays_so_whatever_is_undone_or_redone(moves: list, then: list) -> None:
    history = lived(moves)
    before = gone(history)
    for one in then:
        perform(history, *one)
        assert before <= gone(history)
