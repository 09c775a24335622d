"""The algebra of undo over a whole engine and a fake world, against a small reference model.

The model is a stack of acts with the declared state before each: an act pushes, an undo pops, a redo pushes
again. Ends that nobody asked for belong to the act that began the process, and go with it; one that came
after an act and belongs to another is in the way of undoing it.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from memory_folder import MEMORY
from whole_engine import Whole, planted

from vordr.model.errors import UndoBlocked, VordrError
from vordr.model.lifecycle import State

NAMES = ("a", "b")
ALIVE = (State.RUNNING, State.PAUSED)
LEGAL = {
    None: ("run", "create"),
    State.CREATED: ("start", "remove", "restart"),
    State.RUNNING: ("stop", "pause", "kill", "restart", "remove-f"),
    State.PAUSED: ("resume", "stop", "kill", "restart", "remove-f"),
    State.STOPPED: ("start", "remove", "restart"),
}
# make soak plays a million steps, make test ten thousand.
SOAK = os.environ.get("VORDR_SOAK") == "1"
few = settings(
    max_examples=20_000 if SOAK else 250, stateful_step_count=50 if SOAK else 40, deadline=None,
    suppress_health_check=list(HealthCheck))


def state_of(whole: Whole, name: str) -> State | None:
    return None if whole.journal.get(f"names/{name}") is None else whole.get(name).state


def perform(whole: Whole, op: str, name: str) -> str:
    """Do it; the id of the container that it was done to."""
    match op:
        case "run" | "create":
            answer = whole.call(op, image="tiny", name=name, command=["/bin/serve"])
        case "remove-f":
            answer = whole.do("remove", name, force=True)
        case _:
            answer = whole.do(op, name)
    return answer.container.id


@dataclass(frozen=True)
class Done:
    txn: str
    container: str
    order: int
    before: dict


@dataclass(frozen=True)
class Ending:
    container: str
    origin: str
    order: int
    txn: str


@dataclass(frozen=True)
class Undone:
    acts: tuple[Done, ...]
    after: dict
    order: int


def mixed(mine: dict, others: dict, touched: set[str]) -> dict:
    """The declared state that is ``mine`` for the containers of ``touched`` and ``others`` for the rest."""
    return {
        "containers": {
            **{i: d for i, d in others["containers"].items() if i not in touched},
            **{i: d for i, d in mine["containers"].items() if i in touched}},
        "names": {
            **{n: i for n, i in others["names"].items() if i not in touched},
            **{n: i for n, i in mine["names"].items() if i in touched}}}


class UndoAlgebra(RuleBasedStateMachine):
    @initialize()
    def plant(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.whole = planted(self.folder / "root")
        self.done: list[Done] = []
        self.undone: list[Undone] = []
        self.endings: list[Ending] = []
        self.order = 0

    def teardown(self) -> None:
        if hasattr(self, "whole"):
            self.whole.close()
            shutil.rmtree(self.folder)

    @rule(name=st.sampled_from(NAMES), pick=st.integers(0, 9))
    def act(self, name: str, pick: int) -> None:
        ops = LEGAL[state_of(self.whole, name)]
        before = self.whole.declared()
        container = perform(self.whole, ops[pick % len(ops)], name)
        self.order += 1
        self.done.append(Done(self.whole.last().txn, container, self.order, before))
        self.undone.clear()

    @rule(name=st.sampled_from(NAMES), op=st.sampled_from(["start", "stop", "pause", "resume", "remove"]))
    def illegal_act(self, name: str, op: str) -> None:
        if op in LEGAL[state_of(self.whole, name)]:
            return
        size = self.whole.journal.size
        with pytest.raises(VordrError):
            perform(self.whole, op, name)
        assert self.whole.journal.size == size, "it journalled something"

    @rule(name=st.sampled_from(NAMES), code=st.integers(0, 255))
    def process_ends(self, name: str, code: int) -> None:
        if state_of(self.whole, name) not in ALIVE:
            return
        web = self.whole.get(name)
        self.whole.world.end(web.id, code)
        self.whole.wait_state(State.STOPPED, name)
        self.whole.settle()
        self.order += 1
        last = self.whole.last()
        assert last.origin == web.process_act
        self.endings.append(Ending(web.id, last.origin, self.order, last.txn))

    def in_the_way(self, chosen: list[Done]) -> list[Ending]:
        """Live ends that came after a chosen act on their container and go with an act that is not chosen."""
        live = {act.txn for act in self.done}
        picked = {act.txn for act in chosen}
        return [
            end for end in self.endings if end.origin in live and end.origin not in picked and any(
                act.container == end.container and act.order < end.order for act in chosen)]

    @precondition(lambda self: self.done)
    @rule(count=st.integers(1, 4))
    def undo(self, count: int) -> None:
        count = min(count, len(self.done))
        chosen = self.done[-count:]
        after = self.whole.declared()
        blockers = self.in_the_way(chosen)
        if blockers:
            with pytest.raises(UndoBlocked) as refused:
                self.whole.call("undo", steps=count)
            named = {entry["txn"] for entry in refused.value.details["blocked_by"]}
            assert named <= {end.txn for end in blockers} and named
            assert self.whole.declared() == after
            self.whole.call("undo", steps=count, cascade=True)
            self.endings = [end for end in self.endings if end not in blockers]
        else:
            self.whole.call("undo", steps=count)
        first = {act.container: act for act in reversed(chosen)}
        expected = after
        for container, act in first.items():
            expected = mixed(act.before, expected, {container})
        assert self.whole.declared() == expected
        self.order += 1
        del self.done[-count:]
        self.undone.append(Undone(tuple(chosen), after, self.order))
        if blockers:
            self.undone.clear()  # their coming back with a redo is more than this model knows

    @precondition(lambda self: self.undone)
    @rule()
    def redo(self) -> None:
        undone = self.undone.pop()
        before = self.whole.declared()
        self.whole.call("redo")
        touched = {act.container for act in undone.acts}
        assert self.whole.declared() == mixed(undone.after, before, touched)
        self.endings = [
            end for end in self.endings if not (end.container in touched and end.order > undone.order)]
        self.done.extend(undone.acts)

    @invariant()
    def journal_and_world_agree(self) -> None:
        if hasattr(self, "whole"):
            self.whole.check()


UndoAlgebra.TestCase.settings = few
TestUndoAlgebra = UndoAlgebra.TestCase


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


@settings(max_examples=5_000 if SOAK else 25, deadline=None, suppress_health_check=list(HealthCheck))
@given(picks=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 9)), min_size=1, max_size=8))
def test_rolling_back_all_of_any_legal_acts_is_the_identity_and_redo_brings_them_back(folder, picks):
    whole = planted(Path(tempfile.mkdtemp(dir=folder)) / "root")
    try:
        start = whole.declared()
        for name, pick in picks:
            ops = LEGAL[state_of(whole, name)]
            perform(whole, ops[pick % len(ops)], name)
        end = whole.declared()
        whole.call("undo", steps=len(picks))
        whole.check()
        assert whole.declared() == start
        whole.call("redo")
        whole.check()
        assert whole.declared() == end
        whole.call("undo", steps=len(picks))
        whole.check()
        assert whole.declared() == start
    finally:
        whole.close()


@settings(max_examples=3_000 if SOAK else 15, deadline=None, suppress_health_check=list(HealthCheck))
@given(picks=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 9)), min_size=1, max_size=6))
def test_one_by_one_or_all_at_once_comes_to_the_same(folder, picks):
    whole = planted(Path(tempfile.mkdtemp(dir=folder)) / "root")
    try:
        start = whole.declared()
        seen = []
        for name, pick in picks:
            seen.append(whole.declared())
            ops = LEGAL[state_of(whole, name)]
            perform(whole, ops[pick % len(ops)], name)
        for state in reversed(seen):
            whole.call("undo")
            assert whole.declared() == state
        assert whole.declared() == start
        whole.check()
    finally:
        whole.close()
