"""Handlers of the trash: what lies in it, bringing it back, deleting it for good."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from vordr.actors import emptying
from vordr.actors.transaction import Finished, Plan
from vordr.engine.finding import all_containers, container_by_id, find_removed
from vordr.engine.handlers.containers import name_taken
from vordr.engine.host import Call, Host, receipt
from vordr.engine.protocol import Reply
from vordr.formats.typed import convert
from vordr.images.generations import folder_size
from vordr.model import answers, arguments
from vordr.model.errors import (
    ContainerNotFound,
    ImageInUse,
    ImageNotFound,
    SubjectBusy,
    UndoExpired,
    UsageError,
)
from vordr.model.lifecycle import Op, State
from vordr.model.records import Cause, Step, head_key, name_key, trash_key
from vordr.model.spec import check_name
from vordr.model.state import TrashItem

_MOST: Final = 1000
_PATIENCE: Final = 10.0
"""Seconds to wait for images that are coming in."""


def all_trash(journal: Any) -> list[TrashItem]:
    return [convert(value, TrashItem) for _, value in journal.scan("trash/")]


def trash(host: Host, call: Call, args: arguments.NoArgs) -> Reply:
    items = sorted(all_trash(host.journal), key=lambda item: item.removed, reverse=True)
    return Reply(answers.TrashAnswer(items=tuple(_entry(host, item) for item in items)))


def _entry(host: Host, item: TrashItem) -> answers.TrashEntry:
    return answers.TrashEntry(
        id=item.id, kind=item.kind, name=item.name, removed=item.removed, deadline=item.deadline,
        size=_size(host, item), txn=item.txn)


def _size(host: Host, item: TrashItem) -> int:
    if item.image is not None:
        return item.image.size
    return folder_size(host.paths.trashed(item.id)) + folder_size(emptying.half_gone(host.paths, item.id))


def trash_restore(host: Host, call: Call, args: arguments.TrashRestoreArgs) -> Reply:
    item = find_removed(host.journal, args.item)
    kept = item.container
    if kept is None:
        raise ImageNotFound(
            f"{item.name} is an image", remedy=f"vordr undo {item.txn} brings it back")
    name = args.name or item.name
    check_name(name)
    if host.journal.get(name_key(name)) is not None:
        raise name_taken(host, name)

    def make() -> Plan:
        subject = f"container/{item.id}"
        # Before what is read under them.
        lies = {key: host.journal.get(key) for key in (head_key(subject), trash_key(item.id))}
        if lies[trash_key(item.id)] is None:
            raise ContainerNotFound(f"{item.name} has left the trash", remedy="vordr trash ls")
        if emptying.half_gone(host.paths, item.id).exists():
            raise half_deleted(item.name, item.id)
        now = container_by_id(host.journal, item.id)
        last = msgspec.structs.replace(kept, name=name)
        steps: list[Step] = []
        if now is None:
            steps.append(Step(subject=subject, operation=str(Op.RECREATE), args={
                "container": msgspec.to_builtins(last), "to": str(last.state), "trashed_as": item.name}))
        if last.state is State.REMOVED:
            back = State.STOPPED if last.started is not None else State.CREATED
            steps.append(Step(subject=subject, operation=str(Op.RESTORE),
                              args={"to": str(back), "name": name}))
        return Plan(
            "trash_restore", f"restore {name} from the trash", tuple(steps), call.caller.principal,
            conditions={**lies, name_key(name): None})

    finished = host.transactions.run(make)
    container = container_by_id(host.journal, item.id)
    assert container is not None
    return Reply(answers.ContainerAnswer(container=container, receipt=receipt(finished)))


def half_deleted(name: str, ident: str) -> UndoExpired:
    return UndoExpired(
        f"{name} is half deleted, and cannot come back",
        remedy=f"vordr trash empty {ident[:12]} (deletes the rest)")


def trash_empty(host: Host, call: Call, args: arguments.TrashEmptyArgs) -> Reply:
    """As many acts as it takes, each of at most a thousand items: a record of the journal has an end.

    An image on which a container counts (one that came back from the trash after it) stays: named, it is
    refused. What cannot be deleted stays too, and is told when the rest is gone.
    """
    if args.items and args.all:
        raise UsageError("give items or --all, not both")
    chosen = _named(host, args.items) if args.items else _lying(host, None if args.all else host.now_us())
    entries = [_entry(host, item) for item in chosen]
    finished: Finished | None = None
    left: dict[str, str] = {}
    for portion in _portions(chosen):
        finished, stuck = _empty(host, portion, call.caller.principal, Cause.ACT)
        left |= stuck
    if left:
        raise emptying.refusal(left)
    return Reply(answers.TrashEmptiedAnswer(
        items=tuple(entries), receipt=None if finished is None else receipt(finished)))


def empty_expired(host: Host) -> None:
    """Empty the trash of what is past its deadline, as acts of the engine's own. Raises as an act does, and
    StateError when something does not go."""
    left: dict[str, str] = {}
    for portion in _portions(_lying(host, host.now_us())):
        left |= _empty(host, portion, "policy", Cause.POLICY)[1]
    if left:
        raise emptying.refusal(left)


def _portions(items: Sequence[TrashItem]) -> Iterator[Sequence[TrashItem]]:
    return (items[start:start + _MOST] for start in range(0, len(items), _MOST))


def _empty(
    host: Host, portion: Sequence[TrashItem], principal: str, cause: Cause
) -> tuple[Finished, dict[str, str]]:
    """Also what of it did not go, with the reason where one is known."""
    left: list[str] = []

    def look() -> Mapping[str, Any]:
        left.extend(item.id for item in portion if host.journal.get(trash_key(item.id)) is not None)
        return {"left": left[:emptying.MOST_TOLD]} if left else {}

    with _none_coming(host, portion):
        finished = host.transactions.run(partial(_emptying, host, portion, principal, cause), check=look)
    reasons: dict[str, str] = {}
    for result in finished.results.values():
        reasons |= result.left
    return finished, {ident: reasons.get(ident, "it lies there still") for ident in left}


@contextlib.contextmanager
def _none_coming(host: Host, gone: Sequence[TrashItem]) -> Iterator[None]:
    """Where images go: while none comes in. Raises SubjectBusy when one does for long."""
    if all(item.image is None for item in gone):
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(host.library.coming.alone(_PATIENCE))
        except TimeoutError:
            raise SubjectBusy(
                "an image is coming in, and may need a layer of those in the trash",
                remedy="try again when it is here; vordr trash empty CONTAINER does not wait") from None
        yield


def _emptying(host: Host, gone: Sequence[TrashItem], principal: str, cause: Cause) -> Plan:
    lies = {trash_key(item.id): host.journal.get(trash_key(item.id)) for item in gone}
    for item in gone:
        if lies[trash_key(item.id)] is None:
            raise ContainerNotFound(f"{item.name} has left the trash by now", remedy="vordr trash ls")
    kinds = {
        emptying.CONTAINERS: [item.id for item in gone if item.image is None],
        emptying.IMAGES: [item.id for item in gone if item.image is not None]}
    steps = tuple(emptying.step(subject, idents) for subject, idents in kinds.items() if idents)
    what = gone[0].name if len(gone) == 1 else f"{len(gone)} items"
    return Plan(
        "trash_empty", f"empty the trash of {what}", steps, principal, cause=cause, reversible=False,
        conditions=lies)


def _named(host: Host, given: Sequence[str]) -> list[TrashItem]:
    items = {item.id: item for item in (find_removed(host.journal, one) for one in given)}
    for user in all_containers(host.journal):
        if user.image in items:
            raise ImageInUse(
                f"{items[user.image].name} is the image of container {user.name}",
                remedy=f"vordr rm {user.name}, or vordr undo {items[user.image].txn}")
    return list(items.values())


def _lying(host: Host, until: int | None) -> list[TrashItem]:
    """All that nothing counts on, or what of it has its deadline at ``until`` or before."""
    used = {container.image for container in all_containers(host.journal)}
    return [item for item in all_trash(host.journal)
            if item.id not in used and (until is None or item.deadline <= until)]
