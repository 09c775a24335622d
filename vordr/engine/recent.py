"""The recent part of the history: enough acts for an undo, a redo or a list, without reading them all.

What was begun or ended last stands last in the journal, so the acts are found by walking the records
backwards, in windows that grow until they are enough. Planning on a window gives what planning on the whole
history gives: what an undo takes along or is kept by has ended after the oldest act that it takes back, and
so lies in a window that reaches back to that act's begin. Of a container that holds a name which is wanted
back all acts count: for these the window reaches back to that container's beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vordr.engine.finding import container_by_id, names_in_use
from vordr.formats.typed import convert
from vordr.model.errors import NothingToUndo
from vordr.model.plan import UndoPlan, name_given_back, plan_undo
from vordr.model.records import Act, Kind, act_key

FIRST: Final = 512
"""Records of the first window."""


def acts_since(journal: Any, seq: int) -> list[Act]:
    """Every act begun or ended at record ``seq`` or later, oldest first."""
    txns: dict[str, None] = {}
    for record, _ in journal.records(max(seq, 1)):
        if record.kind in (Kind.BEGIN, Kind.COMMIT, Kind.ABORT):
            txns[record.txn] = None
    found = (journal.get(act_key(txn)) for txn in txns)
    return sorted((convert(act, Act) for act in found if act is not None), key=lambda act: act.seq)


def windows(journal: Any) -> Iterator[tuple[int, list[Act]]]:
    """Larger and larger parts of the newest acts, each with the record from which it is complete; the last is
    all (from record 1)."""
    length, last = FIRST, journal.last()[0]
    while True:
        start = max(1, last + 1 - length)
        yield start, acts_since(journal, start)
        if start == 1:
            return
        length *= 8


@dataclass(frozen=True)
class Picked:
    """What an undo or redo is asked for, newest first, and the ``acts`` from record ``start`` on."""

    start: int
    acts: list[Act]
    chosen: list[Act]


def pick(
    journal: Any, choose: Callable[[Sequence[Act]], list[Act]], *, txn: str | None = None,
    to: int | None = None,
) -> Picked:
    """What ``choose`` picks, as if it were given all acts: those whose id begins with ``txn``, all begun
    after record ``to``, else the newest of some kind. Raises what ``choose`` raises on the whole."""
    if txn is not None:
        chosen = choose([convert(value, Act) for _, value in journal.scan(act_key(txn))])
        start = min(act.seq for act in chosen)
        return Picked(start, acts_since(journal, start), chosen)
    if to is not None:
        acts = acts_since(journal, to + 1)
        return Picked(max(to + 1, 1), acts, choose(acts))
    for start, acts in windows(journal):
        try:
            chosen = choose(acts)
        except NothingToUndo:
            if start == 1:
                raise
            continue
        # An older act may be here for its late end, and one between the two not.
        if start == 1 or all(act.seq >= start for act in chosen):
            return Picked(start, acts, chosen)
    raise AssertionError("the last window is the whole history")


def plan(journal: Any, picked: Picked, *, cascade: bool) -> UndoPlan:
    """:func:`plan_undo` on as much of the history as it depends on. Raises as that does."""
    names = names_in_use(journal)
    start, acts = picked.start, picked.acts
    oldest = min((act.seq for act in picked.chosen), default=start)
    while True:
        wanted = min(oldest, _holders_begin(journal, acts, names))
        if wanted < start:
            start, acts = wanted, acts_since(journal, wanted)
            continue
        found = plan_undo(acts, picked.chosen, names, cascade=cascade)
        oldest = min(act.seq for act in found.acts)
        if oldest >= start:
            return found


def newest(journal: Any, wanted: Callable[[Act], bool], count: int) -> list[Act]:
    """The newest ``count`` acts that are ``wanted``, newest first."""
    for start, acts in windows(journal):
        found = [act for act in reversed(acts) if act.seq >= start and wanted(act)]
        if len(found) >= count or start == 1:
            return found[:count]
    raise AssertionError("the last window is the whole history")


def _holders_begin(journal: Any, acts: Sequence[Act], names: dict[str, str]) -> int:
    """The record from which on everything lies that was done to containers which hold a name that one of
    ``acts``, taken back, would want, or would want it, too."""
    wanting: dict[str, set[str]] = {}
    for act in acts:
        for step in act.steps:
            name = name_given_back(step)
            if name is not None:
                holder = {names[name]} if name in names else set()
                wanting.setdefault(name, holder).add(step.subject.removeprefix("container/"))
    rivals = {ident for idents in wanting.values() if len(idents) > 1 for ident in idents}
    made = [found.created for ident in rivals if (found := container_by_id(journal, ident)) is not None]
    return _first_since(journal, min(made)) if made else journal.last()[0] + 1


def _first_since(journal: Any, time: int) -> int:
    """The first record of ``time`` (µs) or later: times never fall along the journal."""
    low, high = 1, journal.last()[0] + 1
    while low < high:
        middle = (low + high) // 2
        if journal.record(middle)[0].time < time:
            low = middle + 1
        else:
            high = middle
    return low
