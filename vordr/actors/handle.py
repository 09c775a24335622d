"""Stable handles: how anything talks to an actor, whichever incarnation of it lives at the moment.

A handle names a place in the tree. Its supervisor points it at each new incarnation; between two of them, or
after the last, a message raises. Two rules are enforced here, at the sender:

- *Asks go to older ones only* (design §5). The actors of a tree are totally ordered: depth first, each
  supervisor before its children, children in start order. Whoever waits, waits for somebody before it in
  that order, so waits form no cycle. Nobody asks its own supervisor either, which may be waiting for its end.
- *A fenced incarnation is not heard.* A thread cannot be killed; one that outlived its time is abandoned,
  and what it sends afterwards is refused.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from vordr.actors.inbox import Envelope, Reply
from vordr.model.errors import ActorDead, Fenced, SupervisionError, VordrError

if TYPE_CHECKING:
    from vordr.actors.actor import Actor

Rank: TypeAlias = tuple[int, ...]

_incarnations = itertools.count(1)
_fenced: set[int] = set()
_here = threading.local()


def next_incarnation() -> int:
    """A number no other actor of this process had or will have; growing."""
    return next(_incarnations)


def fence(incarnation: int) -> None:
    """From now on nothing this incarnation sends is accepted. There is no way back."""
    _fenced.add(incarnation)


def is_fenced(incarnation: int | None) -> bool:
    return incarnation in _fenced


def current_actor() -> Actor | None:
    """The actor whose thread this is, if any."""
    return getattr(_here, "actor", None)


def enter_actor(actor: Actor) -> None:
    """Mark the calling thread as the actor's own, for good."""
    _here.actor = actor
    _here.sender = actor.incarnation


@contextmanager
def on_behalf_of(incarnation: int) -> Iterator[None]:
    """Run an effect of an actor on another thread: fenced with it, but free of its asking order."""
    _here.sender = incarnation
    try:
        yield
    finally:
        _here.sender = None


def _sender() -> int | None:
    sender: int | None = getattr(_here, "sender", None)
    if is_fenced(sender):
        raise Fenced(f"incarnation {sender} was abandoned by its supervisor", details={"incarnation": sender})
    return sender


class Handle:
    """Sends to whichever actor lives at this place of the tree. Thread-safe; only :meth:`ask` blocks."""

    __slots__ = ("_actor", "_refuse", "name")

    def __init__(self, name: str, actor: Actor | None = None) -> None:
        self.name = name
        self._actor = actor
        self._refuse: Callable[[], VordrError] | None = None

    def __repr__(self) -> str:
        return f"Handle({self.name!r}, incarnation={self.incarnation})"

    @property
    def alive(self) -> bool:
        actor = self._actor
        return actor is not None and not actor.ended

    @property
    def incarnation(self) -> int:
        """The living incarnation's number, 0 when there is none."""
        actor = self._actor
        return actor.incarnation if actor is not None and not actor.ended else 0

    @property
    def actor(self) -> Actor | None:
        """The actor behind it, for supervisors; everybody else sends messages."""
        return self._actor

    def point_at(self, actor: Actor) -> None:
        """A new incarnation lives here (supervisors only)."""
        self._refuse = None
        self._actor = actor

    def detach(self, refuse: Callable[[], VordrError] | None = None) -> None:
        """Nothing lives here (supervisors only). ``refuse`` makes the error to raise instead of ActorDead."""
        self._actor = None
        self._refuse = refuse

    def tell(self, message: object, control: bool = False) -> None:
        """Send without waiting. Raises ActorDead, Parked, InboxFull, Fenced (the caller was abandoned)."""
        sender = _sender()
        self._living().inbox.offer(Envelope(message, None, sender), self.name, control=control)

    def ask(self, message: object, timeout: float, control: bool = False) -> Any:
        """Send and wait up to ``timeout`` seconds for the answer, which may be an exception to raise.

        Raises besides: ActorDead (also at once when the actor ends meanwhile), Parked, InboxFull, Fenced,
        DeadlineExceeded (then the message is skipped if it still waits), and SupervisionError for an ask
        from an actor towards itself, a younger one or its own supervisor.
        """
        sender = _sender()
        target = self._living()
        asker = current_actor()
        if asker is not None:
            _check_order(asker, target, self.name)
        reply = Reply()
        target.inbox.offer(Envelope(message, reply, sender), self.name, control=control)
        return reply.wait(timeout, self.name)

    def _living(self) -> Actor:
        actor = self._actor
        if actor is not None:
            return actor
        refuse = self._refuse
        if refuse is not None:
            raise refuse()
        raise ActorDead(f"{self.name} is not running", details={"actor": self.name})


def _check_order(asker: Actor, target: Actor, name: str) -> None:
    if asker is target:
        raise SupervisionError(f"{name} may not ask itself: it would wait for ever")
    mine, other = asker.rank, target.rank
    if mine is None or other is None:
        return
    if other == mine[: len(other)]:
        raise SupervisionError(f"{asker.name} may not ask its supervisor {name}, which may wait for it")
    if other > mine:
        raise SupervisionError(f"{asker.name} may not ask the younger {name}: tell it instead")
