"""The journal actor: the one writer, group-committing whatever waits in its inbox (design §4).

A batch is durable before anybody is answered; the signed head follows within one fsync. When a write fails
the waiters hear JournalStopped and the actor ends by it; nothing restarts it in this process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from vordr.actors.actor import Actor
from vordr.actors.clock import Timer
from vordr.actors.handle import Handle
from vordr.actors.inbox import Envelope, Reply
from vordr.actors.reasons import Reason
from vordr.journal.batch import Group, Outcome
from vordr.journal.flood import Flood, is_limited
from vordr.journal.store import JournalStore
from vordr.model.errors import ActorDead, JournalStopped, SupervisionError, VordrError
from vordr.model.records import Draft, Record

_log = logging.getLogger("vordr.actors")

APPEND_DEADLINE: Final = 30.0
"""Seconds that a client waits: far above any fsync that still works."""


@dataclass(frozen=True)
class Append:
    """Append ``drafts`` together, if each projection key of ``conditions`` has its value (None: absent).

    ``reserve``: it finishes something begun, and is let through on a full disk. Answered with the records
    (tuple), in order; with () where a flood of the subject made it a number in a later summary.
    """

    drafts: tuple[Draft, ...]
    conditions: Mapping[str, Any] = field(default_factory=dict)
    reserve: bool = False


@dataclass(frozen=True)
class _Summarise:
    """Its own timer: what was counted may be due."""


class JournalActor(Actor):
    """Owns an open store and closes it when it ends. Understands :class:`Append`, asked or told."""

    batch = 256
    drain = True
    inbox_capacity = 4096

    def __init__(self, store: JournalStore, flood: Flood | None = None) -> None:
        super().__init__()
        self._store = store
        self._flood = flood if flood is not None else Flood()
        self._timer: Timer | None = None

    def init(self) -> None:
        dropped = self._store.dropped_at_open
        if dropped is not None:
            _log.warning("%s", dropped)

    def receive_batch(self, envelopes: list[Envelope]) -> None:
        groups: list[Group] = []
        waiting: list[tuple[Reply | None, int | None]] = []
        for envelope in envelopes:
            try:
                waiting.append((envelope.reply, self._take_in(envelope.message, groups)))
            except SupervisionError as error:  # one who speaks another language must not end the journal
                _answer(envelope.reply, error)
        outcomes = self._store.append_batch(groups) if groups else []
        for reply, place in waiting:
            _answer(reply, () if place is None else outcomes[place])
        self._wake_later()

    def _take_in(self, message: object, groups: list[Group]) -> int | None:
        """Add what ``message`` brings to ``groups``; the place of its own group, None when it has none."""
        match message:
            case Append(drafts=(draft,), conditions=conditions, reserve=reserve) if (
                not conditions and is_limited(draft)
            ):
                passed = self._flood.admit(draft, self.clock.now_us())
                groups += [Group((one,), reserve=reserve) for one in passed]
                return len(groups) - 1 if draft in passed else None
            case Append(drafts, conditions, reserve):
                groups.append(Group(drafts, conditions, reserve))
                return len(groups) - 1
            case _Summarise():
                self._timer = None
                groups += [Group((one,)) for one in self._flood.due(self.clock.now_us())]
                return None
            case _:
                raise SupervisionError(f"{self.name} does not understand {type(message).__name__}")

    def _wake_later(self) -> None:
        due = self._flood.next_due()
        if due is not None and self._timer is None:
            self._timer = self.after(max(0, due - self.clock.now_us()) / 1e6, _Summarise())

    def terminate(self, reason: Reason) -> None:
        counted = self._flood.flush()
        try:
            if counted:
                (outcome,) = self._store.append_batch([Group(counted, reserve=True)])
                _answer(None, outcome)
        except JournalStopped:
            pass  # what was counted goes the way of everything else
        finally:
            self._store.close()


def _answer(reply: Reply | None, outcome: Outcome) -> None:
    if reply is None:
        if isinstance(outcome, VordrError):
            _log.warning("a record that nobody waits for was refused: %s", outcome)
    elif isinstance(outcome, VordrError):
        reply.fail(outcome)
    else:
        reply.set(outcome)


class JournalClient:
    """The journal as everybody else uses it: writes through the actor, reads straight from the store.

    Thread-safe. ``deadline`` is in seconds.
    """

    def __init__(self, handle: Handle, store: JournalStore, *, deadline: float = APPEND_DEADLINE) -> None:
        self._handle = handle
        self._store = store
        self._deadline = deadline

    def append(
        self, drafts: tuple[Draft, ...], conditions: Mapping[str, Any] | None = None, reserve: bool = False
    ) -> tuple[Record, ...]:
        """Append ``drafts`` together and wait until they are durable; gives their records. See
        :class:`Append`.

        :raises StaleState, NameInUse, SubjectBusy: a condition does not hold.
        :raises JournalFull: the disk is full, and this begins something.
        :raises JournalStopped: the journal can write no more; nothing may act any more.
        :raises ActorDead: the journal was closed.
        :raises StateError, JournalCorrupt: the drafts are no records, or do not fit what stands.
        :raises InboxFull, DeadlineExceeded: too much at once; after the latter it may yet be appended.
        """
        message = Append(tuple(drafts), dict(conditions or {}), reserve)
        try:
            return cast(tuple[Record, ...], self._handle.ask(message, self._deadline))
        except ActorDead:
            if (why := self._store.stopped) is not None:
                raise JournalStopped(why)
            raise

    def note(self, draft: Draft) -> None:
        """Append one draft without waiting, for callers that must not block.

        :raises InboxFull, ActorDead: it was not taken in.
        """
        self._handle.tell(Append((draft,)))

    @property
    def stopped(self) -> str | None:
        """Why it can write no more, since the disk failed; None where it can, or was closed."""
        return self._store.stopped

    @property
    def ended(self) -> bool:
        """True once it stopped or was closed, which is for good."""
        return self.stopped is not None or not self._handle.alive

    @property
    def size(self) -> int:
        """Number of records."""
        return self._store.size

    def get(self, key: str) -> Any:
        """The projection value under ``key``; None when absent."""
        return self._store.get(key)

    def scan(self, prefix: str, *, reverse: bool = False) -> Iterator[tuple[str, Any]]:
        """Projection keys beginning with ``prefix`` and their values, in order of keys, from one snapshot."""
        return self._store.scan(prefix, reverse=reverse)

    def record(self, seq: int) -> tuple[Record, bytes]:
        """Record ``seq`` and its hash; StateError when there is none."""
        return self._store.record(seq)

    def records(self, start: int = 1, stop: int | None = None) -> Iterator[tuple[Record, bytes]]:
        """Records ``start`` ≤ seq < ``stop`` and their hashes, from one snapshot."""
        return self._store.records(start, stop)

    def last(self) -> tuple[int, bytes]:
        """Number and hash of the last record."""
        return self._store.last()

    def checkpoint(self) -> str:
        """The newest signed checkpoint on disk."""
        return self._store.checkpoint()

    def prove(self, seq: int) -> dict[str, Any]:
        """Proof that record ``seq`` is in the journal (see :mod:`vordr.journal.proofs`)."""
        return self._store.prove(seq)

    def consistency(self, first: int, second: int) -> dict[str, Any]:
        """Proof that the journal of ``first`` records is a prefix of that of ``second``."""
        return self._store.consistency(first, second)
