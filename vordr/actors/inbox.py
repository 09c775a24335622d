"""A bounded inbox with a lane that overtakes, and the replies that asks wait for.

Pykka's inbox is an unbounded ``queue.Queue`` with one lane, and its futures refuse a second ``set``. Here the
sender of too much is told so (InboxFull), control messages pass the crowd, and whoever answers first answers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pykka
from pykka._envelope import Envelope as PykkaEnvelope
from pykka.messages import _ActorStop

from vordr.actors.reasons import Normal, Reason
from vordr.model.errors import ActorDead, DeadlineExceeded, InboxFull


class Reply(pykka.ThreadingFuture[Any]):
    """What one ask waits for. The first answer counts; later ones are ignored."""

    def __init__(self) -> None:
        super().__init__()
        self._settled = threading.Lock()
        self._given_up = False
        self.on_settled: Callable[[Reply], object] | None = None

    @property
    def given_up(self) -> bool:
        """True once the asker's deadline has passed: nobody reads the answer, so the work may be skipped."""
        return self._given_up

    @property
    def settled(self) -> bool:
        return self._settled.locked()

    def _settle(self) -> bool:
        return self._settled.acquire(blocking=False)

    def set(self, value: Any = None) -> None:
        """Answer with a value."""
        if self._settle():
            super().set(value)
            self._tell_owner()

    def fail(self, error: BaseException) -> None:
        """Answer with an exception, raised where the ask waits."""
        if self._settle():
            super().set_exception((type(error), error, error.__traceback__))
            self._tell_owner()

    def set_exception(self, exc_info: Any = None) -> None:
        """Pykka's spelling of :meth:`fail`."""
        if self._settle():
            super().set_exception(exc_info)
            self._tell_owner()

    def wait(self, timeout: float, name: str) -> Any:
        """The answer, or DeadlineExceeded after ``timeout`` seconds (real time)."""
        try:
            return self.get(timeout=max(0.0, timeout))
        except pykka.Timeout:
            self._given_up = True
            raise DeadlineExceeded(
                f"{name} did not answer within {timeout:g} s", details={"actor": name}
            ) from None

    def _tell_owner(self) -> None:
        if self.on_settled is not None:
            self.on_settled(self)


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """A message under way: ``reply`` is there for an ask; ``sender`` is the asking actor's incarnation."""

    message: object
    reply: Reply | None = None
    sender: int | None = None


class Inbox:
    """Two lanes and a stop. ``capacity`` bounds tells and asks, ``control_capacity`` the lane that overtakes.

    A stop request overtakes both lanes, or with ``drain`` comes after all that waits; either way nothing is
    taken in after it.
    """

    def __init__(self, capacity: int, control_capacity: int, *, drain: bool = False) -> None:
        self._capacity = capacity
        self._control_capacity = control_capacity
        self._drain = drain
        self._cond = threading.Condition(threading.Lock())
        self._lane: deque[Envelope] = deque()
        self._control: deque[Envelope] = deque()
        self._stop: Reason | None = None
        self._stop_replies: list[Any] = []
        self._closed = False

    def __len__(self) -> int:
        return len(self._lane) + len(self._control)

    @property
    def stop_reason(self) -> Reason | None:
        return self._stop

    def offer(self, envelope: Envelope, name: str, *, control: bool = False, force: bool = False) -> None:
        """Queue a message. ``force`` passes the bound: for notices whose number is bounded by other means.

        Raises ActorDead when the inbox takes nothing any more, InboxFull when its lane is full.
        """
        with self._cond:
            if self._closed or self._stop is not None:
                raise ActorDead(f"{name} is not running", details={"actor": name})
            lane, bound = (
                (self._control, self._control_capacity) if control else (self._lane, self._capacity)
            )
            if len(lane) >= bound and not force:
                raise InboxFull(f"the inbox of {name} is full ({bound} messages)", details={"actor": name})
            lane.append(envelope)
            self._cond.notify()

    def take(self, limit: int) -> list[Envelope] | None:
        """Wait for messages; up to ``limit`` of them, control first. None: a stop was requested."""
        with self._cond:
            while True:
                waiting = len(self._lane) + len(self._control)
                if self._closed or (self._stop is not None and not (self._drain and waiting)):
                    return None
                if waiting:
                    return [
                        (self._control or self._lane).popleft() for _ in range(min(limit, waiting))
                    ]
                self._cond.wait()

    def request_stop(self, reason: Reason) -> None:
        """Ask the actor to end; the first reason given stands."""
        with self._cond:
            if self._stop is None:
                self._stop = reason
            self._cond.notify()

    def close(self) -> tuple[list[Envelope], list[Any]]:
        """Take nothing any more. Gives what still waited, and the Pykka futures of stop requests."""
        with self._cond:
            self._closed = True
            left = [*self._control, *self._lane]
            self._control.clear()
            self._lane.clear()
            stops, self._stop_replies = self._stop_replies, []
            self._cond.notify()
            return left, stops

    # -- Pykka's own references put and stop through these -----------------------------------------

    def put(self, envelope: PykkaEnvelope[Any], /) -> None:
        if isinstance(envelope.message, _ActorStop):
            with self._cond:
                if not self._closed:
                    self._stop_replies.append(envelope.reply_to)
                    self._stop = self._stop or Normal()
                    self._cond.notify()
                    return
            if envelope.reply_to is not None:
                envelope.reply_to.set(None)
            return
        reply = envelope.reply_to if isinstance(envelope.reply_to, Reply) else None
        self.offer(Envelope(envelope.message, reply), "actor")

    def get(self) -> PykkaEnvelope[Any]:
        """One message, Pykka's way; our loop uses :meth:`take`."""
        taken = self.take(1)
        return PykkaEnvelope(taken[0].message, taken[0].reply) if taken else PykkaEnvelope(_ActorStop())

    def empty(self) -> bool:
        return not len(self)
