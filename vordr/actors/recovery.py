"""What recovery does with the transactions that a crash left open (design §4).

An intent without outcome is compared with the world. A forward transaction is then taken back in reverse; an
undo or redo is driven forward. What cannot be finished is left as it is and said so in the abort record: the
subject is let go, in the state that the journal and the world agree on. A second run finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from vordr.actors.messages import Perform, Settle
from vordr.actors.sides import SIDE_OPERATIONS
from vordr.actors.transaction import STEP_DEADLINE, Plan, Transactions
from vordr.model.errors import VordrError
from vordr.model.lifecycle import ROWS, Op
from vordr.model.records import Act, Cause, Kind, Record, Step, act_key
from vordr.model.verdict import Verdict

Judge = Callable[[str], Verdict]
"""Manifest digest → verdict; raises VerificationRejected."""


@dataclass(frozen=True)
class Recovered:
    """One transaction that recovery ended: how, and what could not be finished."""

    txn: str
    summary: str
    how: str
    left: tuple[dict[str, Any], ...] = ()


class Recovery:
    """See the module."""

    def __init__(self, journal: Any, transactions: Transactions, judge: Judge) -> None:
        self.journal = journal
        self.transactions = transactions
        self.judge = judge

    def run(self) -> list[Recovered]:
        """End every open transaction, oldest first. Raises only what the journal raises."""
        return [self._recover(key.removeprefix("open/")) for key, _ in list(self.journal.scan("open/"))]

    def _act(self, txn: str) -> Act:
        return msgspec.convert(self.journal.get(act_key(txn)), Act)

    def _recover(self, txn: str) -> Recovered:
        act = self._act(txn)
        if act.intent is not None and act.intent.operation not in SIDE_OPERATIONS:
            self._settle(act, act.intent)
            act = self._act(txn)
        holds = not any(step.operation in SIDE_OPERATIONS for step in act.plan)
        plan = Plan(act.act, act.summary, act.plan, act.principal, act.cause, undoes=act.undoes, holds=holds)
        if act.undoes is not None:
            return self._forward(act, plan)
        return self._back(act, plan)

    def _settle(self, act: Act, step: Step) -> None:
        performer = self.transactions.performer(step.subject)
        performer.settle(Settle(act.txn, step, act.principal), STEP_DEADLINE)

    def _forward(self, act: Act, plan: Plan) -> Recovered:
        try:
            for step in act.plan[len(act.steps):]:
                request = Perform(act.txn, step, Cause.RECOVERY, act.principal, self._verdict(step))
                self.transactions.performer(step.subject).perform(request, STEP_DEADLINE)
        except VordrError as error:
            left = {"subject": step.subject, "operation": step.operation, "error": error.to_wire()}
            self.transactions.end(act.txn, Kind.ABORT, plan, {"recovered": True, "left": [left]})
            return Recovered(act.txn, act.summary, "could not be finished", (left,))
        self.transactions.commit(act.txn, plan, {"recovered": True})
        return Recovered(act.txn, act.summary, "driven forward")

    def _back(self, act: Act, plan: Plan) -> Recovered:
        compensated = {step.compensates for step in act.steps}
        todo = [step for step in act.steps if step.compensates is None and step.seq not in compensated]
        if not todo and len(act.steps) == len(act.plan) and not compensated - {None}:
            # Everything was done and only the commit was missing.
            self.transactions.commit(act.txn, plan, {"recovered": True})
            return Recovered(act.txn, act.summary, "committed")
        records: list[Record] = [self.journal.record(step.seq)[0] for step in todo]
        verdicts = self._verdicts(records)
        plan = Plan(act.act, act.summary, act.plan, act.principal, act.cause, holds=plan.holds,
                    verdicts=verdicts)
        left = self.transactions.compensate(act.txn, plan, records)
        args: dict[str, Any] = {"recovered": True}
        if left:
            args["left"] = left
        self.transactions.end(act.txn, Kind.ABORT, plan, args)
        return Recovered(act.txn, act.summary, "taken back", tuple(left))

    def _verdicts(self, records: list[Record]) -> dict[str, Verdict]:
        """Verdicts for the inverses that make processes; where one is refused, its step says so itself."""
        found: dict[str, Verdict] = {}
        for record in records:
            if record.inverse is None:
                continue
            step = Step(subject=record.subject, operation=record.inverse.operation, args=record.inverse.args)
            try:
                verdict = self._verdict(step)
            except VordrError:
                continue
            if verdict is not None:
                found[verdict.manifest] = verdict
        return found

    def _verdict(self, step: Step) -> Verdict | None:
        if step.operation not in ROWS or not ROWS[Op(step.operation)].creates_process:
            return None
        manifest = self.transactions.manifest(step)
        return None if manifest is None else self.judge(manifest)
