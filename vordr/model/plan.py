"""Undo planning: which acts, in which order, what stands in the way, what cannot come back. Pure.

The rules (design §4):

1. An act is *live* when it is committed, can be undone, and no live undo has taken it back.
2. The consequences of an act (exits, policy acts: those whose ``origin`` it is, transitively) go with it.
3. A later live act on the same subject, or one that took a name which the undo needs back, or that runs an
   image which the undo takes away, is *in the way*: the undo refuses and names it, or takes it along.
4. The plan is the inverse of every step, newest first, less the steps that cancel out (see ``net``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vordr.model.errors import NameInUse, NothingToUndo, UndoBlocked, UndoError
from vordr.model.lifecycle import Op, State
from vordr.model.records import Act, ActStatus, Cause, Step, StepDone


@dataclass(frozen=True)
class UndoPlan:
    """``acts`` newest first (consequences included); ``steps`` in order of execution.

    ``losses`` cannot come back; ``targets`` maps each subject to the state digest that must hold afterwards.
    ``origins`` are the acts that were asked for, or taken along by cascade: what the undo marks as undone.
    """

    acts: tuple[Act, ...]
    steps: tuple[Step, ...]
    losses: tuple[str, ...]
    targets: Mapping[str, str | None]
    origins: tuple[Act, ...]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Every subject that the acts changed, also where nothing is to be done."""
        return tuple(dict.fromkeys(subject for act in self.acts for subject in sorted(subjects(act))))

    @property
    def verb(self) -> str:
        """What the one who asked calls it: ``redo`` when what is taken back is an undo itself."""
        return _verb(self.acts)

    @property
    def undoes(self) -> str:
        """Comma-separated txns, newest first, as the begin record carries them."""
        return ",".join(act.txn for act in self.acts)


def live(act: Act) -> bool:
    return act.status is ActStatus.COMMITTED and act.undone_by is None and act.reversible


def undoable(act: Act) -> bool:
    """Whether an undo may be asked for this act: somebody's own, not an undo itself."""
    return live(act) and act.cause is Cause.ACT and act.undoes is None


def choose(
    acts: Sequence[Act], *, principal: str, txn: str | None = None, subject: str | None = None,
    steps: int = 1, to: int | None = None,
) -> list[Act]:
    """The acts that an undo asks for, newest first; ``acts`` are all, oldest first.

    ``txn`` one act (a unique beginning suffices); ``subject`` the newest ``steps`` on it; ``to`` everything
    begun after that record; else the newest ``steps`` of ``principal``. Raises NothingToUndo, UndoError.
    """
    if steps < 1:
        raise UndoError(f"cannot undo {steps} acts", remedy="--steps takes a number from 1")
    newest = [act for act in reversed(acts) if undoable(act)]
    if txn is not None:
        return [_by_txn(acts, txn)]
    if to is not None:
        chosen = [act for act in newest if act.seq > to]
    elif subject is not None:
        chosen = [act for act in newest if subject in subjects(act)][:steps]
    else:
        chosen = [act for act in newest if act.principal == principal][:steps]
    if not chosen:
        raise NothingToUndo("nothing to undo: no act of this kind is left that has not been taken back")
    if to is None and len(chosen) < steps:
        raise NothingToUndo(
            f"only {len(chosen)} of {steps} acts can be taken back",
            remedy=f"--steps {len(chosen)}", details={"available": len(chosen)})
    return chosen


def _by_txn(acts: Sequence[Act], txn: str) -> Act:
    found = [act for act in acts if act.txn.startswith(txn)]
    if len(found) != 1:
        how = "no transaction" if not found else "several transactions"
        raise NothingToUndo(f"{how} {'has' if not found else 'have'} an id beginning with {txn!r}")
    act = found[0]
    if act.undone_by is not None:
        raise NothingToUndo(f"{act.summary} is undone already", remedy=f"vordr redo {act.undone_by}")
    if act.undoes is not None:
        raise NothingToUndo(f"{act.summary} is an undo itself", remedy=f"vordr redo {act.txn}")
    if act.status is not ActStatus.COMMITTED:
        raise NothingToUndo(f"{act.summary} did not happen: it is {act.status}")
    if not act.reversible:
        raise UndoError(
            f"{act.summary} has no inverse", remedy=f"vordr explain {act.txn}", details={"txn": act.txn})
    return act


def choose_redo(acts: Sequence[Act], *, principal: str, txn: str | None = None) -> Act:
    """The undo that a redo takes back: ``txn``, or the principal's newest that still stands."""
    undos = [a for a in acts if a.undoes is not None and live(a) and a.act == "undo"]
    if txn is not None:
        found = [a for a in undos if a.txn.startswith(txn)]
        if len(found) != 1:
            raise NothingToUndo(f"no standing undo has an id beginning with {txn!r}")
        return found[0]
    mine = [a for a in undos if a.principal == principal]
    if not mine:
        raise NothingToUndo("nothing to redo: no undo stands")
    return mine[-1]


def subjects(act: Act) -> frozenset[str]:
    """The subjects that an act changed; for an undo also those where the inverses cancelled out (``net``): it
    took something back there, which is what counts for whoever comes later."""
    held = act.holds if act.undoes is not None else ()
    return frozenset((*(step.subject for step in act.steps),
                      *(subject for subject in held if subject.startswith(("container/", "image/")))))


def consequences(acts: Sequence[Act], chosen: Iterable[Act]) -> list[Act]:
    """Live acts whose origin is one of ``chosen``, transitively."""
    reached = {act.txn for act in chosen}
    found: list[Act] = []
    for act in acts:
        if act.origin in reached and act.txn not in reached and live(act) and act.cause is not Cause.ACT:
            reached.add(act.txn)
            found.append(act)
    return found


def plan_undo(
    acts: Sequence[Act], chosen: Sequence[Act], names: Mapping[str, str], *, cascade: bool
) -> UndoPlan:
    """Plan taking back ``chosen`` and their consequences; ``acts`` are all, oldest first.

    ``names`` maps names in use to container ids. Raises UndoBlocked naming the acts in the way, unless
    ``cascade`` takes them along.
    """
    selected = {act.txn: act for act in (*chosen, *consequences(acts, chosen))}
    while blockers := _in_the_way(acts, selected, names):
        follow = _followers(blockers, selected)
        if not follow and not cascade:
            raise _blocked(acts, blockers, selected.values())
        along = follow or blockers
        for act in (*along, *consequences(acts, along)):
            selected[act.txn] = act
    order = sorted(selected.values(), key=_moment, reverse=True)
    done = [step for act in order for step in reversed(act.steps)]
    if not done and not any(subjects(act) for act in order):
        raise NothingToUndo("these acts changed nothing that could be taken back")
    missing = [step for step in done if step.inverse is None]
    if missing:
        raise UndoError(f"{missing[0].operation} on {missing[0].subject} has no inverse")
    targets = {step.subject: step.before for step in done}
    steps = _names_in_turn(_on_the_way(net(done)), names)
    return UndoPlan(
        tuple(order), steps, _losses(done, steps), targets,
        tuple(act for act in order if act.cause is Cause.ACT))


def _moment(act: Act) -> int:
    return act.end if act.end is not None else act.seq


def _redoing(selected: Iterable[Act]) -> bool:
    """Whether what is taken back is an undo itself."""
    return any(act.undoes is not None for act in selected)


def _verb(selected: Iterable[Act]) -> str:
    return "redo" if _redoing(selected) else "undo"


def _followers(blockers: Sequence[Act], selected: Mapping[str, Act]) -> list[Act]:
    """Ends and policy acts that only followed an undo which is now taken back: they go with it.

    A process that an undo brought back is still the process of the act that began it, so what becomes of it
    names that act as its origin.
    """
    if not _redoing(selected.values()):
        return []
    in_the_way = {act.txn for act in blockers}
    return [act for act in blockers if act.cause is not Cause.ACT and act.origin not in in_the_way]


def _blocked(acts: Sequence[Act], blockers: Sequence[Act], selected: Collection[Act]) -> UndoBlocked:
    moments = _moments(selected)
    first = next((act for act in blockers if act.undoes is None or _helps(act, moments)), blockers[0])
    others = f" and {len(blockers) - 1} more" if len(blockers) > 1 else ""
    redone = next((act.undoes for act in selected if act.undoes is not None), None)
    undo_first = f"undo it first: vordr undo {first.txn}"
    if redone is None:
        remedy = f"add --cascade to take it along, or {undo_first}"
    elif _for_good(acts, blockers, moments):
        remedy = f"do it anew instead: vordr explain {redone.partition(',')[0]} says what it did"
    elif first.undoes is not None:
        remedy = f"first take that one back: vordr redo {first.txn}"
    else:
        remedy = undo_first
    return UndoBlocked(
        f"cannot {_verb(selected)}: {first.summary} ({first.txn}){others} came later and depends on it",
        remedy=remedy, details={"blocked_by": [{"txn": act.txn, "summary": act.summary} for act in blockers]})


def _helps(undo: Act, moments: Mapping[str, int]) -> bool:
    """Whether taking ``undo`` back makes way: it stands on what is, or gave a name to its holder."""
    return _came_later(undo, moments) or any(
        name_taken_by(step.operation, step.args) is not None for step in undo.steps)


def _for_good(acts: Sequence[Act], blockers: Sequence[Act], moments: Mapping[str, int]) -> bool:
    """Whether no undo or redo of others makes way for a redo: somebody acted on the same subjects after the
    undo. That act is in the way while it stands, and its own undo is when it does not."""
    undoes = {txn for act in blockers if act.undoes is not None for txn in act.undoes.split(",")}
    return any(_came_later(act, moments) for act in (
        *(act for act in blockers if act.undoes is None), *(act for act in acts if act.txn in undoes)))


def _in_the_way(
    acts: Sequence[Act], selected: Mapping[str, Act], names: Mapping[str, str]
) -> list[Act]:
    """Live acts outside the selection, newest first, that depend on something in it.

    An undo is in nobody's way, since what it took back is as if it had not been; but undos that stand one on
    the other are taken back in that order.
    """
    redoing = _redoing(selected.values())
    moments = _moments(selected.values())
    instead = _named_instead(acts, selected.values(), moments, names)
    found: list[Act] = []
    for act in reversed(acts):
        if act.txn in selected or not live(act):
            continue
        if act.undoes is not None and not (redoing and act.act == "undo"):
            continue
        if _depends(act, moments) or not instead.isdisjoint(subjects(act)):
            found.append(act)
    return found


def _moments(selected: Iterable[Act]) -> dict[str, int]:
    """When ``selected`` first touched each of their subjects."""
    moments: dict[str, int] = {}
    for act in selected:
        for subject in subjects(act):
            moments[subject] = min(moments.get(subject, _moment(act)), _moment(act))
    return moments


def _came_later(act: Act, moments: Mapping[str, int]) -> bool:
    return any(_moment(act) > moments.get(subject, _moment(act)) for subject in subjects(act))


def _depends(act: Act, moments: Mapping[str, int]) -> bool:
    if _came_later(act, moments):
        return True
    for step in act.steps:
        image = image_of(step)
        if image is not None and f"image/{image}" in moments and _moment(act) > moments[f"image/{image}"]:
            return True
    return False


def image_of(step: StepDone | Step) -> str | None:
    """The manifest digest that a step which makes a container uses, else None."""
    if step.operation not in (Op.CREATE, Op.RECREATE):
        return None
    container = step.args.get("container")
    return str(container["image"]) if isinstance(container, Mapping) else None


def _named_instead(
    acts: Sequence[Act], selected: Iterable[Act], moments: Mapping[str, int], names: Mapping[str, str]
) -> set[str]:
    """Subjects that have a name, or would have it, which the undo of ``selected`` must give to another: who
    holds it now and keeps it, and of two that want it the one that lost it last."""
    before = _names_before(acts, moments)
    losers = dict.fromkeys(step.subject for act in sorted(selected, key=_moment) for step in act.steps
                           if name_given_back(step) is not None)
    first: dict[str, str] = {}
    instead: set[str] = set()
    for subject in reversed(losers):
        name = before.get(subject)
        if name is None:
            continue
        holder = f"container/{names[name]}" if name in names else subject
        keeps = before.get(holder, name) == name
        if first.setdefault(name, holder if keeps else subject) != subject:
            instead.add(first[name])
    return instead


def _names_before(acts: Sequence[Act], moments: Mapping[str, int]) -> dict[str, str | None]:
    """The name (or None) that each subject of ``moments`` had before the act of that moment, if it has lost
    or got one since: also by acts that stay, and so are in the way."""
    before: dict[str, str | None] = {}
    for act in sorted(acts, key=_moment, reverse=True):
        for step in reversed(act.steps):
            if step.subject not in moments or _moment(act) < moments[step.subject]:
                continue
            name = name_given_back(step)
            if name is not None or (step.inverse is not None and step.inverse.operation in _NAMELESS):
                before[step.subject] = name
    return before


def name_given_back(step: StepDone) -> str | None:
    """The name that taking back ``step`` takes again, else None."""
    return None if step.inverse is None else name_taken_by(step.inverse.operation, step.inverse.args)


def name_taken_by(operation: str, args: Mapping[str, Any]) -> str | None:
    """The name that a restore or recreate takes again, else None."""
    match operation:
        case Op.RESTORE:
            return str(args["name"]) if args.get("name") else None
        case Op.RECREATE if args["to"] != State.REMOVED:
            return str(args["container"]["name"])
    return None


_GIVE_UP: Final = (Op.REMOVE, Op.UNCREATE)
"""What gives the name of a container up."""
_NAMELESS: Final = (*_GIVE_UP, Op.RECREATE)
"""What leaves a container without its name, unless it takes one: a removed one can be made again, too."""

_REPLACED_BY_UNSTART = {Op.REVIVE, Op.PAUSE, Op.RESUME}
_REPLACED_BY_STOP = {Op.PAUSE, Op.RESUME}


def net(done: Sequence[StepDone]) -> tuple[Step, ...]:
    """Inverses of ``done`` (newest first), without the work that a later inverse would throw away.

    Reviving a process only to end it again, and restoring from the trash only to uncreate, cancel out: both
    lead to the same declared state (the property tests run both ways).
    """
    steps: list[Step] = []
    for step in done:
        assert step.inverse is not None
        inverse = Step(
            subject=step.subject, operation=step.inverse.operation, args=dict(step.inverse.args))
        match inverse.operation:
            case Op.UNSTART:
                _drop_trailing(steps, inverse.subject, _REPLACED_BY_UNSTART)
            case Op.STOP:
                _drop_trailing(steps, inverse.subject, _REPLACED_BY_STOP)
                if _drop_last(steps, inverse.subject, Op.REVIVE):
                    continue
            case Op.UNCREATE:
                _drop_from_trash(steps, inverse.subject)
        steps.append(inverse)
    return tuple(steps)


def _drop_trailing(steps: list[Step], subject: str, kinds: set[Op]) -> None:
    while any(_drop_last(steps, subject, kind) for kind in kinds):
        pass


def _drop_last(steps: list[Step], subject: str, kind: Op) -> bool:
    """Drop the newest step on ``subject``, if it is of this kind."""
    last = next((i for i in reversed(range(len(steps))) if steps[i].subject == subject), None)
    if last is None or steps[last].operation != kind:
        return False
    del steps[last]
    return True


def _drop_from_trash(steps: list[Step], subject: str) -> None:
    """Drop what follows from where ``subject`` first lies in the trash: it leaves the record from there."""
    mine = [i for i, step in enumerate(steps) if step.subject == subject]
    operations = [steps[i].operation for i in mine]
    if operations[:1] == [Op.RESTORE]:
        first = 0
    elif Op.REMOVE in operations:
        first = operations.index(Op.REMOVE) + 1
    else:
        return
    for i in reversed(mine[first:]):
        del steps[i]


def _on_the_way(steps: Sequence[Step]) -> tuple[Step, ...]:
    """``steps``, where what comes back only to go again does so under its own id: its name may be another's
    by now, and nobody has an id that is not his."""
    goes: set[str] = set()  # what a later step takes away, to lie in the trash under a name that it gives
    found: list[Step] = []
    for step in reversed(steps):
        if step.operation in _GIVE_UP and step.args.get("name"):
            goes.add(step.subject)
        elif name_taken_by(step.operation, step.args) is not None:
            if step.subject in goes:
                step = _under_its_id(step)
            goes.discard(step.subject)
        found.append(step)
    return tuple(reversed(found))


def _under_its_id(step: Step) -> Step:
    ident = step.subject.removeprefix("container/")
    args = ({"name": ident} if step.operation == Op.RESTORE else
            {"container": {**step.args["container"], "name": ident}})
    return Step(subject=step.subject, operation=step.operation, args={**step.args, **args})


def _names_in_turn(steps: Sequence[Step], names: Mapping[str, str]) -> tuple[Step, ...]:
    """``steps`` with those in front by which another container gives up a name that one of them takes.

    Newest first is not always that order: the holder may be older than the removal that freed the name. A
    name that is taken is kept (see ``_on_the_way``), so there is an order unless two would have it, or one
    keeps it: then NameInUse is raised.
    """
    left, ordered = list(steps), []
    holders = dict(names)
    while left:
        step = left[0]
        name = name_taken_by(step.operation, step.args)
        holder = f"container/{holders[name]}" if name in holders else step.subject
        releases = [i for i, other in enumerate(left) if other.subject == holder != step.subject
                    and other.operation in _GIVE_UP]
        if releases:
            sooner = [other for other in left[:releases[0] + 1] if other.subject == holder]
            left = [*sooner, *(other for other in left if not any(other is one for one in sooner))]
            step = left[0]
        left.pop(0)
        ordered.append(step)
        if step.operation in _GIVE_UP:
            holders = {n: c for n, c in holders.items() if f"container/{c}" != step.subject}
        elif name is not None and step.operation in (Op.RESTORE, Op.RECREATE):
            ident = step.subject.removeprefix("container/")
            if holders.setdefault(name, ident) != ident:
                raise NameInUse(
                    f"the name {name} cannot be given back: it goes to container {holders[name][:12]}",
                    remedy="undo fewer acts, or vordr trash restore --name NEW")
    return tuple(ordered)


def _losses(done: Sequence[StepDone], steps: Sequence[Step]) -> tuple[str, ...]:
    """What the plan cannot bring back: of those steps whose inverse really runs, in order, each once."""
    runs = {(step.subject, step.operation) for step in steps}
    found: dict[str, None] = {}
    for step in done:
        if step.inverse is not None and (step.subject, step.inverse.operation) in runs:
            found.update(dict.fromkeys(step.inverse.losses))
    return tuple(found)
