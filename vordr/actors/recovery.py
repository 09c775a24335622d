"""What recovery does with the transactions that a crash left open (design §4).

An intent without outcome is compared with the world. A forward transaction is then taken back in reverse,
unless only its commit was missing; an undo or redo is driven forward, and taken back where that fails. What
cannot be taken back is left as it is and said so in the abort record: the subject is let go, in the state
that journal and world agree on. Where the world cannot be looked at, the transaction stays open and holds its
subjects until the next opening. A second run finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from vordr.actors import trusting
from vordr.actors.messages import Perform, Settle
from vordr.actors.sides import SIDE_OPERATIONS, lost
from vordr.actors.transaction import STEP_DEADLINE, Plan, Transactions
from vordr.formats.typed import convert
from vordr.model.errors import JournalCorrupt, JournalStopped, VordrError
from vordr.model.plan import subjects
from vordr.model.records import Act, Cause, Kind, Record, StepDone, act_key

LEFT_OPEN: Final = "left open"


@dataclass(frozen=True)
class Recovered:
    """One transaction that recovery dealt with: how, and what could not be finished."""

    txn: str
    summary: str
    how: str
    left: tuple[dict[str, Any], ...] = ()


class Recovery:
    """See the module."""

    def __init__(self, journal: Any, transactions: Transactions) -> None:
        self.journal = journal
        self.transactions = transactions

    def run(self) -> list[Recovered]:
        """End every open transaction, in the order of their begins; a change of trust first, since taking
        others back may need a verdict. Raises JournalStopped, JournalCorrupt."""
        acts = [self._act(key.removeprefix("open/")) for key, _ in self.journal.scan("open/")]
        acts.sort(key=lambda act: (all(step.subject != trusting.SUBJECT for step in act.plan), act.seq))
        return [self.end(act.txn) for act in acts]

    def end(self, txn: str) -> Recovered:
        """End this transaction, which nobody drives any more. Raises JournalStopped, JournalCorrupt."""
        try:
            return self._recover(txn)
        except (JournalStopped, JournalCorrupt):
            raise
        except VordrError as error:
            return Recovered(txn, self._act(txn).summary, LEFT_OPEN, ({"error": error.to_wire()},))

    def end_deserted(self, txn: str) -> bool:
        """End ``txn`` if it was left open in this process; whether it was. It may be left open again."""
        if not self.transactions.claim_deserted(txn):
            return False
        if self.end(txn).how == LEFT_OPEN:
            self.transactions.desert(txn)
        return True

    def _act(self, txn: str) -> Act:
        return convert(self.journal.get(act_key(txn)), Act)

    def _recover(self, txn: str) -> Recovered:
        act = self._act(txn)
        going_back = act.takes_back is not None or any(step.compensates is not None for step in act.steps)
        if act.intent is not None:
            if act.intent.operation in SIDE_OPERATIONS:
                self.journal.append((lost(txn, act.intent, act.principal),), {}, reserve=True)
            else:
                settle = Settle(act.txn, act.intent, act.principal, _newest(act), act.takes_back)
                self.transactions.performer(act.intent.subject).settle(settle, STEP_DEADLINE)
            act = self._act(txn)
        plan = Plan(act.act, act.summary, act.plan, act.principal, act.cause, undoes=act.undoes,
                    about=tuple(sorted(subjects(act))))
        if going_back:
            return self._back(act, plan, {})
        if len(act.steps) == len(act.plan):
            self.transactions.end(act.txn, Kind.COMMIT, plan, {"recovered": True})
            return Recovered(act.txn, act.summary, "committed")
        return self._back(act, plan, {}) if act.undoes is None else self._forward(act, plan)

    def _forward(self, act: Act, plan: Plan) -> Recovered:
        since = _newest(act)
        try:
            for step in act.plan[len(act.steps):]:
                verdict = self.transactions.fresh_verdict(step)
                request = Perform(act.txn, step, Cause.RECOVERY, act.principal, verdict)
                since = self.transactions.perform(request, since).record.seq
        except (JournalStopped, JournalCorrupt):
            raise
        except VordrError as error:
            return self._back(self._act(act.txn), plan, {"error": error.to_wire()})
        self.transactions.end(act.txn, Kind.COMMIT, plan, {"recovered": True})
        return Recovered(act.txn, act.summary, "driven forward")

    def _back(self, act: Act, plan: Plan, why: dict[str, Any]) -> Recovered:
        records = [self._record(step) for step in _standing(act.steps)]
        left = self.transactions.compensate(act.txn, act.principal, records)
        if self.transactions.is_unsettled(act.txn):
            return Recovered(act.txn, act.summary, LEFT_OPEN, tuple(left))
        args: dict[str, Any] = {"recovered": True, **why}
        if left:
            args["left"] = left
        self.transactions.end(act.txn, Kind.ABORT, plan, args)
        return Recovered(act.txn, act.summary, "taken back", tuple(left))

    def _record(self, step: StepDone) -> Record:
        record: Record = self.journal.record(step.seq)[0]
        return record


def _newest(act: Act) -> int:
    return act.steps[-1].seq if act.steps else act.seq


def _standing(steps: Sequence[StepDone]) -> list[StepDone]:
    """The steps that no later one of the same transaction has taken back."""
    compensated = {step.compensates for step in steps}
    return [step for step in steps if step.compensates is None and step.seq not in compensated]
