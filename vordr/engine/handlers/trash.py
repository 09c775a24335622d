"""Handlers of the trash: what lies in it, bringing it back, deleting it for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from vordr.actors import emptying
from vordr.actors.transaction import Finished, Plan
from vordr.engine.finding import container_by_id, find_removed
from vordr.engine.handlers.containers import name_taken
from vordr.engine.host import Call, Host, receipt
from vordr.engine.protocol import Reply
from vordr.formats.typed import convert
from vordr.images.generations import folder_size
from vordr.model import answers, arguments
from vordr.model.errors import ContainerNotFound, ImageNotFound, UsageError
from vordr.model.lifecycle import Op, State
from vordr.model.records import Step, head_key, name_key, trash_key
from vordr.model.spec import check_name
from vordr.model.state import TrashItem

_MOST: Final = 1000


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
    return folder_size(host.paths.trashed(item.id))


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


def trash_empty(host: Host, call: Call, args: arguments.TrashEmptyArgs) -> Reply:
    """As many acts as it takes, each of at most a thousand items: a record of the journal has an end."""
    if args.items and args.all:
        raise UsageError("give items or --all, not both")
    entries: list[answers.TrashEntry] = []
    finished: Finished | None = None
    while chosen := _chosen(host, args)[:_MOST]:
        told = [_entry(host, item) for item in chosen]
        finished = host.transactions.run(lambda: _emptying(host, call, _chosen(host, args)[:_MOST]))
        entries += told
        if args.items:
            break
    return Reply(answers.TrashEmptiedAnswer(
        items=tuple(entries), receipt=None if finished is None else receipt(finished)))


def _emptying(host: Host, call: Call, gone: Sequence[TrashItem]) -> Plan:
    idents = [item.id for item in gone]
    what = gone[0].name if len(gone) == 1 else f"{len(gone)} containers"
    lies = {trash_key(ident): host.journal.get(trash_key(ident)) for ident in idents}
    return Plan(
        "trash_empty", f"empty the trash of {what}", (emptying.step(idents),), call.caller.principal,
        reversible=False, conditions=lies)


def _chosen(host: Host, args: arguments.TrashEmptyArgs) -> list[TrashItem]:
    """Containers' only: an image's blobs may be another image's, too."""
    if args.items:
        named = {item.id: item for item in (find_removed(host.journal, given) for given in args.items)}
        images = [item.name for item in named.values() if item.image is not None]
        if images:
            raise UsageError(f"{images[0]} is an image, which stays: its layers may be another's, too",
                             remedy="vordr trash ls")
        return list(named.values())
    now = host.now_us()
    return [item for item in all_trash(host.journal)
            if item.image is None and (args.all or item.deadline <= now)]
