"""Transactions and recovery, through any crashes, record by record as in the proved model; and the tree.

The coordinator, the recovery and the projection are the production code. The journal is in memory, the host
is a set of effects; both obey a script of chances, one a durable append or an effect: G goes well, N is
refused, C cuts the power before it, T in the middle of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proof_oracle import ask, listed

from vordr.actors.messages import Perform, Performed, Settle, step_args
from vordr.actors.recovery import Recovery
from vordr.actors.transaction import Plan, Transactions
from vordr.formats import merkle
from vordr.model.errors import RuntimeFailed, StateError, VordrError
from vordr.model.lifecycle import Fidelity
from vordr.model.projection import project
from vordr.model.records import Cause, Draft, Inverse, Kind, Record, Step


class PowerCut(BaseException):
    """The engine is gone: nothing of it runs on, nothing is written any more."""


class Fate:
    """The chances still to come, and whether the power is off."""

    def __init__(self, chances: str) -> None:
        self.chances = iter(chances)
        self.off = False
        self.ahead: list[str] = []

    def peek(self) -> str:
        if self.off:
            raise PowerCut
        if not self.ahead:
            self.ahead.append(next(self.chances, "G"))
        return self.ahead[0]

    def take(self) -> str:
        chance = self.peek()
        self.ahead.clear()
        if chance in "CT":
            self.off = True
        return chance

    def live(self) -> bool:
        """Take a chance for something that cannot be refused; raises PowerCut."""
        if self.take() in "CT":
            raise PowerCut
        return True


class MemoryJournal:
    """The journal's face towards transactions and recovery, with the production projection behind it.

    ``box[k]`` is the box of step k.
    """

    def __init__(self, fate: Fate, box: list[int]) -> None:
        self.fate = fate
        self.box = box
        self.records: list[Record] = []
        self.projection: dict[str, Any] = {}

    def append(
        self, drafts: tuple[Draft, ...], conditions: Mapping[str, Any], *, reserve: bool = False
    ) -> tuple[Record, ...]:
        if drafts[0].kind is not Kind.BEGIN:
            self.fate.live()
        for key, expected in conditions.items():
            assert self.projection.get(key) == expected, key
        return tuple(self._one(draft) for draft in drafts)

    def _one(self, draft: Draft) -> Record:
        seq = len(self.records) + 1
        fields = {name: getattr(draft, name) for name in draft.__struct_fields__}
        record = Record(**fields, seq=seq, boot_id="b", time=seq)
        for key, value in project(record, self.projection.get).items():
            if value is None:
                self.projection.pop(key, None)
            else:
                self.projection[key] = value
        self.records.append(record)
        return record

    def get(self, key: str) -> Any:
        return self.projection.get(key)

    def scan(self, prefix: str) -> Iterator[tuple[str, Any]]:
        return iter([item for item in self.projection.items() if item[0].startswith(prefix)])

    def record(self, seq: int) -> tuple[Record, bytes]:
        return self.records[seq - 1], b""

    def last(self) -> tuple[int, bytes]:
        return len(self.records), b""


class Boxes:
    """Performer of the steps ``put`` and ``take`` on boxes; ``stands`` are the numbers put, newest first."""

    def __init__(self, journal: MemoryJournal) -> None:
        self.journal = journal
        self.stands: list[int] = []
        self.torn = False

    def _effect(self, step: Step) -> None:
        number = int(step.args["k"])
        if step.operation == "put":
            assert number not in self.stands, "put twice"
            self.stands.insert(0, number)
        else:
            same = [k for k in self.stands if self.journal.box[k] == self.journal.box[number]]
            assert same[0] == number, "not in reverse order"
            self.stands.remove(number)

    def perform(self, request: Perform, deadline: float) -> Performed:
        self._append(Kind.INTENT, request, step_args(request))
        match self.journal.fate.take():
            case "C":
                raise PowerCut
            case "T":
                self.torn = True
                raise PowerCut
            case "N":
                self._append(Kind.FAILED, request, {})
                raise RuntimeFailed("refused")
        self._effect(request.step)
        return self._done(request)

    def settle(self, request: Settle, deadline: float) -> Performed | None:
        finished = self._find_out(request.step)
        as_if = Perform(request.txn, request.step, Cause.RECOVERY, request.principal,
                        compensates=request.compensates)
        if finished:
            return self._done(as_if)
        self._append(Kind.FAILED, as_if, {})
        return None

    def _find_out(self, step: Step) -> bool:
        chance = self.journal.fate.take()
        if chance in "CT":
            raise PowerCut
        if not self.torn:
            return (int(step.args["k"]) in self.stands) is (step.operation == "put")
        self.torn = False
        if chance == "G":
            self._effect(step)
        return chance == "G"

    def _done(self, request: Perform) -> Performed:
        back = "take" if request.step.operation == "put" else "put"
        inverse = Inverse(back, request.step.args, Fidelity.EXACT)
        args = {**step_args(request), "writes": {}}
        return Performed(self._append(Kind.DONE, request, args, inverse))

    def _append(
        self, kind: Kind, request: Perform, args: dict[str, Any], inverse: Inverse | None = None
    ) -> Record:
        step = request.step
        (record,) = self.journal.append((Draft(
            txn=request.txn, kind=kind, cause=request.cause, subject=step.subject, operation=step.operation,
            args=args, inverse=inverse, principal=request.principal),), {})
        return record

    def released(self, subject: str) -> None:
        """Nobody waits for a box."""


def never(manifest: str) -> Any:
    raise AssertionError("no step here makes a process")


def engine(journal: MemoryJournal, boxes: Boxes) -> Transactions:
    return Transactions(
        journal, {"box": boxes}, never, now_us=lambda: 1_000_000, entropy=lambda: bytes(10))


def run(plan: Plan, journal: MemoryJournal, boxes: Boxes) -> None:
    """The act, and after each power cut a new engine and its recovery, until the transaction has ended."""
    fate = journal.fate

    def check() -> dict[str, Any]:
        if fate.peek() == "N":
            fate.take()
            raise StateError("not as it should be")
        return {}

    def act() -> None:
        engine(journal, boxes).run(lambda: plan, check=check)

    attempt = act
    while True:
        try:
            attempt()
            return
        except PowerCut:
            fate.off = False
            attempt = Recovery(journal, engine(journal, boxes)).run
        except VordrError:
            return


def numbered(record: Record) -> str:
    return str(record.args.get("step", {}).get("k", "?"))


def told(records: list[Record]) -> str:
    """The records in the words of the oracle."""
    words: list[str] = []
    number = ""
    for record in records:
        sign = "+" if record.operation == "put" else "-"
        match record.kind:
            case Kind.INTENT | Kind.DONE:
                number = numbered(record)
                words.append(f"{record.kind}{sign}{number}")
            case Kind.FAILED:
                words.append(f"failed{sign}{number}")
            case Kind.ABORT:
                words.append("abort")
            case _:
                words.append(str(record.kind))
    return " ".join(words)


def without_left(answer: str) -> tuple[str, str]:
    """The oracle's records, the abort without what it names, and the effects that stand."""
    records, stands = answer.split(";")
    return " ".join(word.partition(":")[0] for word in records.split()), stands


def same_as_the_model(box: list[int], undoes: bool, script: str) -> None:
    journal = MemoryJournal(Fate(script), box)
    boxes = Boxes(journal)
    steps = tuple(Step(subject=f"box/{b}", operation="put", args={"k": k}) for k, b in enumerate(box))
    run(Plan("fill", "fill", steps, "me", undoes="txn" if undoes else None), journal, boxes)
    records, stands = without_left(
        ask(f"journal {len(box)} {int(undoes)} {listed(box)} {script or '.'}"))
    assert told(journal.records) == records, script
    assert listed(boxes.stands) == stands, script
    assert not list(journal.scan("open/")) and not list(journal.scan("busy/")) and not boxes.torn
    ended = len(journal.records)
    assert Recovery(journal, engine(journal, boxes)).run() == []
    assert len(journal.records) == ended


@pytest.mark.parametrize("undoes", [False, True], ids=["act", "undo"])
@pytest.mark.parametrize("box", [[0, 0, 1], [0, 1, 0]], ids=str)
def test_two_mishaps_anywhere_end_as_in_the_model(box: list[int], undoes: bool) -> None:
    for first, second in combinations(range(18), 2):
        for one, other in product("NCT", repeat=2):
            same_as_the_model(box, undoes, f"{'G' * first}{one}{'G' * (second - first - 1)}{other}")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.booleans(),
       st.text(st.sampled_from("GGGGGGNCT"), max_size=60))
def test_every_record_and_every_effect_is_that_of_the_model(
    box: list[int], undoes: bool, script: str
) -> None:
    same_as_the_model(box, undoes, script)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 70))
def test_the_tree_has_the_shape_that_the_model_builds(size: int) -> None:
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(size)]
    rest = iter(leaves)
    stack: list[bytes] = []
    for mark in ask(f"tree {size}"):
        if mark == "*":
            stack.append(next(rest))
        elif mark == ")":
            right, left = stack.pop(), stack.pop()
            stack.append(merkle.node_hash(left, right))
    assert stack == [merkle.root(leaves)]
