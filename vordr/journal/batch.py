"""What a batch of appends does, decided before anything is written: groups in, records and writes out. Pure.

Groups are evaluated in order, each against the projection as the groups before it leave it. A group whose
conditions do not hold, or whose drafts do not fit what stands, gets its error and leaves nothing. Values of
the projection are encoded when the whole batch is known: what ten of its records touch is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from vordr.formats.errors import FormatError
from vordr.journal.encoding import decode_plain, encode, encode_plain, encode_record
from vordr.journal.layout import decode_value, link
from vordr.model.errors import NameInUse, StaleState, StateError, SubjectBusy, VordrError
from vordr.model.projection import project
from vordr.model.records import Draft, Record

Standing = Any
"""A projection value: its canonical JSON (bytes), or the plain value itself; None when absent."""

Read = Callable[[str], Standing]
"""Projection key → what stands there."""

Outcome = tuple[Record, ...] | VordrError


@dataclass(frozen=True)
class Group:
    """Drafts that are appended together or not at all.

    ``conditions`` maps projection keys to the JSON values that they must have (None: absent). ``reserve``
    says that the group finishes something begun, and so may use the space kept back for a full disk.
    """

    drafts: tuple[Draft, ...]
    conditions: Mapping[str, Any] = field(default_factory=dict)
    reserve: bool = False


@dataclass(frozen=True)
class Tip:
    """The last record: its number, hash and time (µs); 0, 32 zero bytes and 0 before the first."""

    seq: int
    hash: bytes
    time: int


@dataclass(frozen=True)
class Entry:
    """One record as it is stored."""

    seq: int
    hash: bytes
    body: bytes


@dataclass(frozen=True)
class Evaluated:
    """``outcomes`` in the order of the groups; ``writes`` are projection puts (bytes) and deletes (None), and
    ``standing`` the same as the next evaluation may be told of them."""

    outcomes: list[Outcome]
    entries: list[Entry]
    writes: dict[str, bytes | None]
    standing: dict[str, Standing]
    tip: Tip


def evaluate(
    groups: Sequence[Group], read: Read, tip: Tip, *, now: int, boot_id: str
) -> Evaluated:
    """Evaluate ``groups`` on top of ``tip``; ``now`` is the clock in µs, never trusted to go forward."""
    outcomes: list[Outcome] = []
    entries: list[Entry] = []
    writes: dict[str, Standing] = {}
    for group in groups:
        trial = _Trial(read, writes, tip, max(now, tip.time), boot_id)
        try:
            check_conditions(group.conditions, trial.read)
            records = tuple(trial.append(draft) for draft in group.drafts)
        except VordrError as refusal:
            outcomes.append(refusal)
            continue
        outcomes.append(records)
        entries.extend(trial.entries)
        writes.update(trial.writes)
        tip = trial.tip
    texts = {key: _as_bytes(value) for key, value in writes.items()}
    return Evaluated(outcomes, entries, texts, writes, tip)


class _Trial:
    """One group being evaluated: what it would append and write, over what stands."""

    def __init__(
        self, read: Read, standing: Mapping[str, Standing], tip: Tip, time: int, boot_id: str
    ) -> None:
        self._read = read
        self._standing = standing
        self._time = time
        self._boot_id = boot_id
        self._plain = True
        self.tip = tip
        self.entries: list[Entry] = []
        self.writes: dict[str, Standing] = {}

    def read(self, key: str) -> Standing:
        for overlay in (self.writes, self._standing):
            if key in overlay:
                return overlay[key]
        return self._read(key)

    def _value(self, key: str) -> Any:
        value = self.read(key)
        if type(value) is not bytes:
            return value
        found, plain = decode_plain(value)
        self._plain = self._plain and plain
        return found

    def append(self, draft: Draft) -> Record:
        seq = self.tip.seq + 1
        try:
            # The projection sees what a replay will see: the record as its bytes say it.
            body, record, plain = encode_record(draft, seq, self._boot_id, self._time)
            self._plain = self._plain and plain
            writes = project(record, self._value)
            if not self._plain:
                writes = {key: None if value is None else encode(value) for key, value in writes.items()}
        except (FormatError, msgspec.MsgspecError, TypeError) as error:
            raise StateError(
                f"a {draft.kind} record of {draft.operation} on {draft.subject} cannot be journalled: {error}"
            ) from error
        self.writes.update(writes)
        hash_ = link(self.tip.hash, body)
        self.tip = Tip(seq, hash_, self._time)
        self.entries.append(Entry(seq, hash_, body))
        return record


def _as_bytes(value: Standing) -> bytes | None:
    """The canonical JSON of a value that stands."""
    return value if value is None or type(value) is bytes else encode_plain(value)


def check_conditions(conditions: Mapping[str, Any], read: Read) -> None:
    """Raise :func:`refusal` of the first of ``conditions`` (as of a :class:`Group`) that does not hold."""
    for key, expected in conditions.items():
        found = _as_bytes(read(key))
        try:
            wanted = None if expected is None else encode(expected)
        except (FormatError, TypeError) as error:
            raise StateError(f"the condition on {key} is not a JSON value: {error}") from error
        if found != wanted:
            raise refusal(key, expected, None if found is None else decode_value(found))


def refusal(key: str, expected: Any, found: Any) -> VordrError:
    """Why nothing is appended under the condition that ``key`` stands at ``expected``."""
    details = {"key": key, "expected": decode_value(encode(expected)), "found": found}
    space, _, rest = key.partition("/")
    match space:
        case "names" if found is not None:
            return NameInUse(f"the name {rest} is in use by {_short(found)}", details=details)
        case "busy" if found is not None:
            return SubjectBusy(f"{_short(rest)} is busy with transaction {found}", details=details)
        case _:
            return StaleState(f"{key} is no longer what the plan saw", details=details)


def _short(value: Any) -> str:
    """Container ids as people read them: the first 12 digits."""
    text = str(value)
    return text[:12] if len(text) == 64 else text
