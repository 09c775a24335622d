"""Steps and undo plans of the Python, and of the proved model, over the same random histories."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from proof_oracle import ask, listed

from vordr.model.errors import NothingToUndo, UndoBlocked, VordrError
from vordr.model.lifecycle import ROWS, Op, State
from vordr.model.plan import choose, plan_undo
from vordr.model.records import Act, ActStatus, Cause, Step, StepDone, container_key
from vordr.model.spec import ContainerSpec
from vordr.model.state import ContainerState, Generation
from vordr.model.steps import Facts, advance, digest_of

IDS = ("1", "2", "3")
ME = "uid:0"


class Refused(Exception):
    """The step is illegal, or takes a name that another container holds."""


class Ledger:
    """The projection and the acts, moved by the production code of ``vordr.model`` alone."""

    def __init__(self) -> None:
        self.projection: dict[str, Any] = {}
        self.acts: list[Act] = []

    def container(self, ident: str) -> ContainerState | None:
        value = self.projection.get(container_key(ident))
        return None if value is None else msgspec.convert(value, ContainerState)

    def names(self) -> dict[str, str]:
        return {key.removeprefix("names/"): holder for key, holder in self.projection.items()
                if key.startswith("names/")}

    def _step(self, op: Op, ident: str, args: dict[str, Any], txn: str) -> StepDone:
        before = self.container(ident)
        try:
            result = advance(op, before, args, Facts(time=1_000_000 + len(self.acts), txn=txn, boot_id="b"))
        except (VordrError, KeyError) as error:
            raise Refused from error
        for key, value in result.writes.items():
            # What Plan.conditions and the busy keys see to: a name is free, or the container's own.
            held = self.projection.get(key) not in (None, ident)
            if key.startswith("names/") and value is not None and held:
                raise Refused
        for key, value in result.writes.items():
            if value is None:
                self.projection.pop(key, None)
            else:
                self.projection[key] = value
        return StepDone(
            subject=f"container/{ident}", operation=str(op), args=args, before=digest_of(before),
            after=result.after, inverse=result.inverse, seq=len(self.acts) + 1)

    def _append(self, name: str, txn: str, steps: tuple[StepDone, ...], undoes: str | None = None) -> None:
        seq = len(self.acts) + 1
        self.acts.append(Act(
            txn=txn, act=name, summary=name, cause=Cause.ACT, principal=ME, plan=(), seq=seq, time=seq,
            status=ActStatus.COMMITTED, steps=steps, end=seq, undoes=undoes))

    def act(self, op: Op, ident: str, args: dict[str, Any]) -> str:
        txn = f"txn-{len(self.acts):04d}"
        try:
            self._append(str(op), txn, (self._step(op, ident, args, txn),))
        except Refused:
            return "refused"
        return "done"

    def undo(self, back: int) -> str:
        if back >= len(self.acts):
            return "refused"
        chosen = self.acts[-1 - back]
        try:
            plan = plan_undo(
                self.acts, choose(self.acts, principal=ME, txn=chosen.txn), self.names(), cascade=False)
        except NothingToUndo:
            return "refused"
        except UndoBlocked as blocked:
            return self._blocked(chosen, {entry["txn"] for entry in blocked.details["blocked_by"]})
        txn = f"txn-{len(self.acts):04d}"
        kept = dict(self.projection)
        try:
            steps = tuple(self._undone(step, txn) for step in plan.steps)
        except Refused:
            self.projection = kept
            return "refused"
        for subject, digest in plan.targets.items():
            now = self.container(subject.removeprefix("container/"))
            assert digest_of(now) == digest, f"the undo of {chosen.summary} is partial"
        self.acts = [
            msgspec.structs.replace(act, undone_by=txn) if act is chosen else act for act in self.acts]
        self._append("undo", txn, steps, plan.undoes)
        return "done"

    def _undone(self, step: Step, txn: str) -> StepDone:
        return self._step(Op(step.operation), step.subject.removeprefix("container/"), step.args, txn)

    def _blocked(self, chosen: Act, by: set[str]) -> str:
        """The model calls a held name a refusal; blocked is what acts on the same container do."""
        subject = chosen.steps[0].subject
        found = [at for at, act in enumerate(reversed(self.acts))
                 if act.txn in by and act.steps[0].subject == subject]
        return f"blocked {listed(found)}" if found else "refused"

    def shown(self) -> str:
        names = self.names()
        holders = [names.get(f"n{n}", "-") for n in (1, 2, 3)]
        return " ".join([*(shown(self.container(ident)) for ident in IDS), *holders])


def shown(container: ContainerState | None) -> str:
    if container is None:
        return "-"
    newest_first = [generation.number for generation in reversed(container.generations)]
    return "/".join((
        container.image, container.name[1:], listed(container.addresses), listed(container.ports),
        str(container.state), listed(newest_first)))


def made(ident: str, name: int, image: int) -> ContainerState:
    return ContainerState(
        id=ident, name=f"n{name}", image=str(image), image_name="i", spec=ContainerSpec(),
        state=State.CREATED, addresses=(f"1{ident}",), ports=(f"8{ident}",), generations=(Generation(9, 1),))


def asked(op: Op, ident: str, args: dict[str, Any]) -> str:
    """The step in the words of the oracle's protocol."""
    container = shown(msgspec.convert(args["container"], ContainerState)) if "container" in args else "-"
    name = str(args["name"])[1:] if "name" in args else "-"
    return f"act {op} {ident} {args.get('to', '-')} {args.get('generation', '-')} {name} {container}"


@st.composite
def steps(draw: st.DrawFn, ledger: Ledger) -> tuple[Op, str, dict[str, Any]]:
    """Any step on any container; mostly one that its state allows."""
    ident = draw(st.sampled_from(IDS))
    container = ledger.container(ident)
    state = State.IMAGE_ONLY if container is None else container.state
    legal = [op for op in Op if state in ROWS[op].sources]
    if not draw(st.integers(0, 4)):
        op, to = draw(st.sampled_from(Op)), draw(st.none() | st.sampled_from(State))
    else:
        op = draw(st.sampled_from(legal))
        to = draw(st.sampled_from(ROWS[op].targets))
    args: dict[str, Any] = {"opened": 5}
    if to is not None:
        args["to"] = str(to)
    if op in (Op.CREATE, Op.RECREATE):
        wanted = made(ident, draw(st.integers(1, 3)), draw(st.sampled_from((7, 8))))
        args["container"] = msgspec.to_builtins(wanted)
    newest = container.generations[-1].number if container is not None and container.generations else 1
    args["generation"] = draw(st.sampled_from((newest, newest, newest + 1)))
    if op in (Op.RESTORE, Op.REMOVE) and draw(st.booleans()):
        args["name"] = f"n{draw(st.integers(1, 3))}"
    return op, ident, args


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 25))
def test_every_step_and_every_undo_ends_as_in_the_model(data: st.DataObject, length: int) -> None:
    ledger, events, ours = Ledger(), [], []
    for _ in range(length):
        if ledger.acts and not data.draw(st.integers(0, 3)):
            back = data.draw(st.integers(0, len(ledger.acts)))
            events.append(f"undo {back}")
            said = ledger.undo(back)
        else:
            op, ident, args = data.draw(steps(ledger))
            events.append(asked(op, ident, args))
            said = ledger.act(op, ident, args)
        ours.append(f"{said};{ledger.shown()}")
    proved = ask("life " + "|".join(events)).split("|")
    for number, (event, here, there) in enumerate(zip(events, ours, proved, strict=True)):
        assert here == there, f"event {number}, {event}, of {events[:number]}"
