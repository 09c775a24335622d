"""Handlers of undo, redo, history and explain."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vordr.actors.emptying import half_gone
from vordr.actors.transaction import Check, Finished, Plan
from vordr.engine import recent
from vordr.engine.authority import authorise_process
from vordr.engine.finding import (
    all_images,
    container_by_id,
    find_container,
    find_removed,
    names_in_use,
)
from vordr.engine.handlers.trash import half_deleted
from vordr.engine.host import Call, Host, receipt
from vordr.engine.judging import check_network
from vordr.engine.protocol import Reply
from vordr.formats.times import format_rfc3339
from vordr.formats.typed import convert
from vordr.model import answers, arguments
from vordr.model.errors import (
    ContainerNotFound,
    NothingToUndo,
    PolicyDenied,
    StaleState,
    UndoBlocked,
    UndoExpired,
    UndoPartial,
    UsageError,
)
from vordr.model.image_steps import ImageOp, image_digest
from vordr.model.lifecycle import ROWS, Op, State
from vordr.model.operations import Scope
from vordr.model.plan import (
    UndoPlan,
    choose,
    choose_redo,
    name_taken_by,
    subjects,
    undoable,
)
from vordr.model.records import Act, Cause, Step, head_key, name_key, trash_key
from vordr.model.state import ImageState
from vordr.model.steps import needs_verdict
from vordr.model.verdict import Verdict

STAYS = ("what the containers logged", "volumes, binds and tmpfs", "what a process did outside its container")


# -- undo and redo ---------------------------------------------------------------------------------


def undo(host: Host, call: Call, args: arguments.UndoArgs) -> Reply:
    if sum(x is not None for x in (args.txn, args.container, args.to)) > 1:
        raise UsageError("give one of: a transaction, a container, --to")
    subject = None if args.container is None else f"container/{_any_container(host, args.container)}"

    def wanted(acts: Sequence[Act]) -> list[Act]:
        return choose(acts, principal=call.caller.principal, txn=args.txn, subject=subject, steps=args.steps,
                      to=args.to)

    def planned() -> UndoPlan:
        picked = recent.pick(host.journal, wanted, txn=args.txn, to=args.to)
        return recent.plan(host.journal, picked, cascade=args.cascade)

    return _reverse(host, call, "undo", planned, dry_run=args.dry_run)


def redo(host: Host, call: Call, args: arguments.RedoArgs) -> Reply:
    def wanted(acts: Sequence[Act]) -> list[Act]:
        return [choose_redo(acts, principal=call.caller.principal, txn=args.txn)]

    def planned() -> UndoPlan:
        picked = recent.pick(host.journal, wanted, txn=args.txn)
        return recent.plan(host.journal, picked, cascade=False)

    return _reverse(host, call, "redo", planned, dry_run=args.dry_run)


def _any_container(host: Host, given: str) -> str:
    """A container, or one in the trash: what was done to it can be undone too."""
    try:
        return find_container(host.journal, given).id
    except ContainerNotFound:
        try:
            item = find_removed(host.journal, given)
        except ContainerNotFound:
            message = f"no container is called {given!r}"
            raise ContainerNotFound(message, details={"container": given}) from None
        if item.container is None:
            raise ContainerNotFound(
                f"{item.name} is an image", remedy=f"vordr undo {item.txn} brings it back")
        return item.id


def _reverse(host: Host, call: Call, act: str, planned: Any, *, dry_run: bool) -> Reply:
    plan: UndoPlan = planned()
    _authorise(host, call, plan)
    _check_possible(host, plan)
    if dry_run:
        return Reply(_answer(host, plan, None))

    def make() -> Plan:
        nonlocal plan
        seen = host.journal.last()[0]
        held = _image_names(plan)
        plan = planned()
        if not _image_names(plan) <= held:
            raise _OtherNames
        _authorise(host, call, plan)
        _check_possible(host, plan)
        told = " and ".join(a.summary for a in plan.origins) or ", ".join(a.summary for a in plan.acts)
        return Plan(
            act, f"{act} of {told}", plan.steps, call.caller.principal, undoes=plan.undoes,
            conditions={**_heads(host, plan, seen), **_name_conditions(host, plan)},
            verdicts=_verdicts(host, plan), about=plan.subjects)

    partial: list[Any] = []

    def check() -> Mapping[str, Any]:
        partial.extend(_compare(host, plan))
        return {"partial": partial} if partial else {}

    finished = _holding_names(host, lambda: plan, make, check)
    if partial:
        raise UndoPartial(
            f"the {act} ran, but {len(partial)} of {len(plan.targets)} subjects are not as they were",
            details={"partial": partial, "txn": finished.act.txn},
            remedy=f"vordr explain {finished.act.txn}")
    return Reply(_answer(host, plan, finished))


def _authorise(host: Host, call: Call, plan: UndoPlan) -> None:
    """As a direct call would be: who vouches for an image is an administrator's word, and so is a process in
    the host's namespaces."""
    for step in plan.steps:
        spec = host.transactions.spec(step) if needs_verdict(step) else None
        if spec is not None:
            authorise_process("undo", spec, call.caller)
        if step.operation == "reimport" and call.caller.scope is not Scope.ADMIN:
            _check_own(call, plan, step)
        vouches = step.operation == "describe" and set(step.args) - {"names"}
        if vouches and call.caller.scope is not Scope.ADMIN:
            raise PolicyDenied(
                f"this takes back an adoption, which needs scope admin; {call.caller.principal} has "
                f"{call.caller.scope}", remedy="ask an administrator of this host (uid 0)")


def _check_own(call: Call, plan: UndoPlan, step: Step) -> None:
    """An image comes back with its attestation: that of one which somebody else took away is not a member's
    to give."""
    for act in plan.acts:
        if step.subject in subjects(act) and act.principal != call.caller.principal:
            raise PolicyDenied(
                f"{act.summary}, by {act.principal}: bringing an attested image back needs scope admin",
                remedy="ask an administrator of this host (uid 0)")


class _OtherNames(Exception):
    """What is undone has become something else, that gives images names which are not held."""


def _holding_names(
    host: Host, planned: Callable[[], UndoPlan], make: Callable[[], Plan], check: Check
) -> Finished:
    """Run while no other act gives an image one of the names that the plan gives back."""
    while True:
        with contextlib.suppress(_OtherNames), host.library.naming(sorted(_image_names(planned()))):
            return host.transactions.run(make, check=check)


def _image_names(plan: UndoPlan) -> set[str]:
    """The names that images get by the plan."""
    return {name for step in plan.steps if step.subject.startswith("image/")
            for name in step.args.get("names", ())}


def _check_image_names(host: Host, plan: UndoPlan) -> None:
    """Refuse a name for an image that is another's when all is done. Raises UndoBlocked."""
    if not _image_names(plan):
        return
    held = {image.manifest: set(image.names) for image in all_images(host.journal)}
    given = set()
    for step in plan.steps:
        kind, _, manifest = step.subject.partition("/")
        if kind == "image" and step.operation == ImageOp.UNIMPORT:
            held.pop(manifest, None)
        elif kind == "image" and "names" in step.args:
            held[manifest] = set(step.args["names"])
            given.add(manifest)
    for manifest in given & held.keys():
        for other, names in held.items():
            taken = sorted(held[manifest] & names)
            if other != manifest and taken:
                raise UndoBlocked(
                    f"cannot {plan.verb}: the name {taken[0]} is held by image {other[:19]}",
                    remedy=f"vordr rmi {taken[0]}, then {plan.verb} again",
                    details={"name": taken[0], "holder": other})


def _heads(host: Host, plan: UndoPlan, seen: int) -> dict[str, Any]:
    """That nothing has touched what the undo is about since the plan was begun, at record ``seen``.

    Raises StaleState when something has by now.
    """
    conditions: dict[str, Any] = {}
    for subject in dict.fromkeys((*plan.subjects, *(step.subject for step in plan.steps))):
        key = head_key(subject)
        conditions[key] = host.journal.get(key)
        if (conditions[key] or 0) > seen:
            raise StaleState(f"{subject} changed while the undo was planned")
    return conditions


def _check_possible(host: Host, plan: UndoPlan) -> None:
    """Refuse before the begin what can be known to fail: taken names, emptied trash."""
    _check_image_names(host, plan)
    names = names_in_use(host.journal)
    released = {name for step in plan.steps if step.operation in (Op.UNCREATE, Op.REMOVE)
                for name, holder in names.items() if step.subject == f"container/{holder}"}
    goes: set[str] = set()  # to the trash, by a step before
    for step in plan.steps:
        container = step.subject.removeprefix("container/")
        if step.operation in (Op.RESTORE, Op.RECREATE, Op.UNCREATE) and container not in goes:
            _check_there(host, container)
        if step.operation == ImageOp.REIMPORT and container not in goes and not _is_kept(host, step):
            raise UndoExpired(
                f"the image {step.subject.partition('/')[2][:19]} has left the trash and cannot come back",
                remedy="vordr pull, or run the .ctp again")
        if step.operation in (Op.REMOVE, Op.UNCREATE, ImageOp.UNIMPORT):
            goes.add(container)
        if step.operation in (Op.RESTORE, Op.RECREATE):
            name = _name_after(host, step)
            holder = names.get(name)
            if holder is not None and holder != container and name not in released:
                cascade = "; or --cascade" if plan.verb == "undo" else ""
                raise UndoBlocked(
                    f"cannot {plan.verb}: the name {name!r} is held by container {holder[:12]}",
                    remedy=f"vordr rm {name}, then {plan.verb} again{cascade}",
                    details={"name": name, "holder": holder})


def _check_there(host: Host, container: str) -> None:
    """Raises UndoExpired when the container's files, which lay in the trash, are gone."""
    now = container_by_id(host.journal, container)
    standing = now is not None and now.state is not State.REMOVED
    if standing:
        return
    if half_gone(host.paths, container).exists():
        raise half_deleted(container[:12], container)
    if host.journal.get(trash_key(container)) is None:
        raise UndoExpired(f"container {container[:12]} has left the trash and cannot come back")


def _is_kept(host: Host, step: Step) -> bool:
    """Whether the trash has the image of a reimport; what was begun to be emptied has lost its manifest."""
    return host.journal.get(_lies(step)) is not None and host.store.has(step.subject.partition("/")[2])


def _lies(step: Step) -> str:
    """The key under which the subject of a step lies in the trash, if it does."""
    return trash_key(step.subject.partition("/")[2])


def _name_after(host: Host, step: Step) -> str:
    """The name that a restore or recreate takes again; empty when it takes none."""
    name = name_taken_by(step.operation, step.args)
    if name is None and step.operation == Op.RESTORE:
        item = host.journal.get(trash_key(step.subject.removeprefix("container/")))
        name = (item or {}).get("name")
    return name or ""


def _name_conditions(host: Host, plan: UndoPlan) -> dict[str, Any]:
    """The names to take again must still be free when the undo begins, and what comes back in the trash."""
    back = [step for step in plan.steps if step.operation in (Op.RESTORE, Op.RECREATE)]
    keys = [name_key(name) for name in (_name_after(host, step) for step in back) if name]
    keys += [_lies(step) for step in plan.steps
             if step.operation in (Op.RESTORE, Op.RECREATE, ImageOp.REIMPORT)]
    return {key: host.journal.get(key) for key in keys}


def _verdicts(host: Host, plan: UndoPlan) -> dict[str, Verdict]:
    found: dict[str, Verdict] = {}
    for step in plan.steps:
        if needs_verdict(step):
            spec = host.transactions.spec(step)
            if spec is not None:
                check_network(host, spec.network)
            manifest = host.transactions.manifest(step)
            if manifest is not None and manifest not in found:
                found[manifest] = host.library.judge_manifest(manifest)
    return found


def _compare(host: Host, plan: UndoPlan) -> list[dict[str, Any]]:
    """Subjects whose state digest is not the journalled one of before, resource by resource."""
    wrong = []
    for subject, wanted in plan.targets.items():
        now = _digest_now(host, subject)
        if now != wanted:
            wrong.append({"subject": subject, "expected": wanted, "found": now})
    return wrong


def _digest_now(host: Host, subject: str) -> str | None:
    kind, _, ident = subject.partition("/")
    if kind == "container":
        container = container_by_id(host.journal, ident)
        return None if container is None else container.digest()
    if kind == "image":
        value = host.journal.get(f"images/{ident}")
        return None if value is None else image_digest(convert(value, ImageState))
    return None


def _answer(host: Host, plan: UndoPlan, finished: Finished | None) -> answers.UndoAnswer:
    return answers.UndoAnswer(
        undone=tuple((act.txn, act.summary) for act in plan.acts),
        steps=tuple(_in_words(host, step) for step in plan.steps),
        losses=plan.losses, stays=STAYS, receipt=None if finished is None else receipt(finished))


_WORDS: Mapping[str, str] = {
    Op.UNCREATE: "take away again (to the trash)",
    Op.RECREATE: "bring back from the trash",
    Op.UNSTART: "end the process and drop generation {generation}",
    Op.REOPEN: "bring back generation {generation} and its process",
    Op.REVIVE: "start the process again on the same files ({to})",
    Op.RESTORE: "bring back from the trash",
    Op.PAUSE: "pause", Op.RESUME: "resume", Op.STOP: "stop", Op.REMOVE: "remove (to the trash)",
    "unimport": "take out of the store (to the trash)",
    "reimport": "bring back from the trash",
    "describe": "give back its names and attestation",
}


def _in_words(host: Host, step: Step) -> answers.PlannedStep:
    kind, _, ident = step.subject.partition("/")
    name = ident.removeprefix("sha256:")[:12]
    if kind == "container":
        container = container_by_id(host.journal, ident)
        item = host.journal.get(f"trash/{ident}")
        name = container.name if container is not None else str((item or {}).get("name", name))
    text = _WORDS.get(step.operation, step.operation).format_map({"generation": "?", "to": "", **step.args})
    losses = ROWS[Op(step.operation)].loss if step.operation in (Op.STOP, Op.UNSTART) else None
    return answers.PlannedStep(
        subject=step.subject, name=name, operation=step.operation, text=text,
        losses=(losses,) if losses else ())


# -- looking back ----------------------------------------------------------------------------------


def history(host: Host, call: Call, args: arguments.HistoryArgs) -> Reply:
    subject = None if args.container is None else f"container/{_any_container(host, args.container)}"

    def shown(act: Act) -> bool:
        if subject is not None and subject not in subjects(act) | {s.subject for s in act.plan}:
            return False
        return act.cause is Cause.ACT or args.consequences

    acts = recent.newest(host.journal, shown, max(args.limit, 1))
    return Reply(answers.HistoryAnswer(acts=tuple(_entry(act) for act in acts)))


def _entry(act: Act) -> answers.HistoryEntry:
    return answers.HistoryEntry(
        txn=act.txn, seq=act.seq, time=act.time, act=act.act, summary=act.summary, cause=str(act.cause),
        principal=act.principal, status=str(act.status), undoable=undoable(act), undone_by=act.undone_by,
        undoes=act.undoes, origin=act.origin, steps=act.steps)


def explain(host: Host, call: Call, args: arguments.ExplainArgs) -> Reply:
    def wanted(acts: Sequence[Act]) -> list[Act]:
        mine = [act for act in acts if args.txn or act.principal == call.caller.principal]
        if not mine:
            raise NothingToUndo("no such transaction" if args.txn else "you have done nothing yet")
        return [max(mine, key=lambda act: act.seq)]

    picked = recent.pick(host.journal, wanted, txn=args.txn or None)
    return Reply(answers.ExplainAnswer(text="\n".join(_story(host, picked.acts, picked.chosen[0]))))


def _story(host: Host, acts: Sequence[Act], act: Act) -> list[str]:
    when = format_rfc3339(act.time)
    lines = [f"{act.summary} — {act.status}", f"transaction {act.txn}, begun {when} by {act.principal}", ""]
    for number, step in enumerate(act.steps, 1):
        said = f"{number}. {step.operation} on {step.subject[:40]} (record {step.seq})"
        lines.append(said + (" — taking back an earlier step" if step.compensates else ""))
        if step.inverse is not None:
            loss = f"; it cannot bring back: {', '.join(step.inverse.losses)}" if step.inverse.losses else ""
            lines.append(f"   undone by {step.inverse.operation} ({step.inverse.fidelity}){loss}")
    if act.end is not None:
        args = host.journal.record(act.end)[0].args
        if "error" in args:
            error = args["error"]
            lines += ["", f"It was refused: {error['message']} [{error['id']}]"]
            lines += [f"To fix: {hint}" for hint in error.get("suggestions", ())]
        for left in args.get("left", ()):
            lines.append(f"Could not be taken back: {left['operation']} on {left['subject']}: "
                         f"{left['error']['message']}")
    for other in acts:
        if other.origin == act.txn:
            lines.append(f"Then, because of it: {other.summary}")
    if act.undone_by is not None:
        lines += ["", f"Undone by {act.undone_by}. To bring it back: vordr redo {act.undone_by}"]
    elif undoable(act):
        lines += ["", f"To take it back: vordr undo {act.txn}"]
    return lines
