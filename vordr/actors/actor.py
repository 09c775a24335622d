"""The base of every actor: Pykka's ThreadingActor, with what supervision needs and Pykka lacks (design §5).

In Pykka 4, ``start()`` returns before ``on_start`` ran and a failure there is only logged; an exception
answered to an ``ask`` leaves the actor running in whatever state it was; a BaseException in one actor stops
all of them; nobody is told of an actor's end; threads keep the process alive; the inbox grows without bound.
Here ``start()`` is a handshake, every end is told once to the parent, and failures stay where they happen.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Final, cast

import pykka

from vordr.actors.clock import Clock, Signal, SystemClock, Timer
from vordr.actors.context import Services, StartContext
from vordr.actors.handle import Handle, Rank, enter_actor, fence, is_fenced, next_incarnation, on_behalf_of
from vordr.actors.inbox import Envelope, Inbox, Reply
from vordr.actors.pool import Outcome
from vordr.actors.reasons import ActorExit, Crashed, Killed, Normal, Reason, is_abnormal
from vordr.model.errors import ActorDead, Fenced, StartFailed, SupervisionError, VordrError

__all__ = ["NORMAL", "Actor", "Envelope", "Ignore", "Outcome", "Reply"]

_log = logging.getLogger("vordr.actors")

NORMAL: Final = Normal()


class _Ignore(Enum):
    IGNORE = "ignore"


Ignore: Final = _Ignore.IGNORE
"""Returned by :meth:`Actor.init`: nothing to do here, do not run and do not call it a failure (OTP)."""


@dataclass(frozen=True)
class _EffectDone:
    wrap: Callable[[Outcome], object]
    outcome: Outcome


class Actor(pykka.ThreadingActor):
    """Subclasses implement :meth:`receive` (or :meth:`receive_batch`), and :meth:`init`, :meth:`terminate`
    where there is something to do. All of them run on the actor's own thread, one at a time.

    ``inbox_capacity`` bounds waiting messages, ``control_capacity`` those that overtake. ``batch``: take
    up to that many at once. ``drain``: handle what waits before a requested stop, instead of refusing it.
    """

    use_daemon_thread = True
    inbox_capacity: ClassVar[int] = 1024
    control_capacity: ClassVar[int] = 256
    batch: ClassVar[int] = 0
    drain: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.incarnation = next_incarnation()
        self.__context: StartContext | None = None
        self.__launched = False
        self.__start_timeout: float | None = None
        self.__start_error: BaseException | None = None
        self.__ignored = False
        self.__ready = Signal()
        self.__gone = Signal()
        self.__exit_lock = threading.Lock()
        self.__exit: Reason | None = None
        self.__idle = False
        self.__open: set[Reply] = set()
        self.__stops: list[Any] = []
        self.__reply: Reply | None = None
        self.__deferred = False

    # -- for subclasses to implement ----------------------------------------------------------------

    def init(self) -> _Ignore | None:
        """Prepare, before the starter goes on. Raising fails the start; returning Ignore declines it."""
        return None

    def receive(self, message: object) -> object:
        """Handle one message. What it returns or raises answers an ask.

        A VordrError raised for an ask is only answered. Anything else raised, or raised for a tell, ends the
        actor with that reason.
        """
        raise SupervisionError(f"{self.name} does not understand {type(message).__name__}")

    def receive_batch(self, envelopes: list[Envelope]) -> None:
        """With ``batch`` set: handle all; answer each ``envelope.reply`` that is not None, now or later.

        Raising fails those not answered and ends the actor.
        """
        raise NotImplementedError

    def terminate(self, reason: Reason) -> None:
        """Clean up, when the actor ends by itself, by request or by a crash; not when it is killed."""

    # -- for subclasses to use ----------------------------------------------------------------------

    @property
    def context(self) -> StartContext:
        if self.__context is None:
            name = f"{type(self).__name__}-{self.incarnation}"
            self.__context = StartContext((name,), Handle(name, self), Services(clock=_shared_clock()))
        return self.__context

    @property
    def name(self) -> str:
        return self.context.handle.name

    @property
    def handle(self) -> Handle:
        """The stable handle of this actor's place; outlives this incarnation."""
        return self.context.handle

    @property
    def rank(self) -> Rank | None:
        """Its place in the asking order; None outside a tree."""
        return self.context.rank

    @property
    def clock(self) -> Clock:
        return self.context.services.clock

    def defer(self) -> Reply:
        """Inside :meth:`receive`: take the pending reply, to be answered by a later message (set or fail).

        Unanswered when the actor ends, it fails with ActorDead. For a tell it is a reply nobody reads.
        """
        self.__deferred = True
        return self.__reply or Reply()

    def spawn_effect(self, fn: Callable[[], Any], wrap: Callable[[Outcome], object]) -> None:
        """Run ``fn`` on the tree's effect pool; its outcome comes back as the message ``wrap(outcome)``.

        The outcome overtakes waiting messages and goes to this incarnation or to nobody. Raises InboxFull
        when the pool has too much to do, Fenced when this actor was abandoned.
        """
        if self.fenced:
            raise Fenced(f"{self.name} was abandoned by its supervisor")
        pool = self.context.services.effects
        if pool is None:
            raise SupervisionError(f"{self.name} has no effect pool")

        def run() -> Any:
            with on_behalf_of(self.incarnation):
                return fn()

        def done(result: Any, error: BaseException | None) -> None:
            self.__post(_EffectDone(wrap, Outcome(result, error)), control=True)

        pool.submit(run, on_done=done)

    def after(self, delay: float, message: object) -> Timer:
        """Tell itself ``message`` in ``delay`` seconds, if this incarnation still lives then."""
        return self.clock.call_later(delay, lambda: self.__post(message, control=False))

    def stop(self, reason: Reason = NORMAL) -> None:
        """End, after the message in hand (with ``drain``: after all that waits). From any thread."""
        self.inbox.request_stop(reason)

    # -- for supervisors ----------------------------------------------------------------------------

    @property
    def inbox(self) -> Inbox:
        return cast(Inbox, self.actor_inbox)

    @property
    def launched(self) -> bool:
        """True once its thread was begun: an actor lives once, and a restart needs a new one."""
        return self.__launched

    @property
    def ended(self) -> bool:
        return self.__exit is not None

    @property
    def exit_reason(self) -> Reason | None:
        """Why it ended; None while it lives."""
        return self.__exit

    @property
    def fenced(self) -> bool:
        """True once this incarnation was abandoned: it can no longer send."""
        return is_fenced(self.incarnation)

    def launch(self, context: StartContext, timeout: float | None = None) -> bool:
        """Start in a tree and wait for :meth:`init`. False: it returned Ignore.

        Raises what ``init`` raised, or StartFailed after ``timeout`` seconds (the thread is abandoned); then
        no actor is left. There is no exit notice for a start that failed: this is it.
        """
        self.__context = context
        self.__start_timeout = timeout
        pykka.ActorRegistry.register(self.actor_ref)
        self._start_actor_loop()
        return not self.__ignored

    def wait_end(self, clock: Clock, timeout: float | None) -> bool:
        """Wait until it has ended (True) or ``timeout`` seconds of ``clock`` passed."""
        return self.__gone.wait(clock, timeout)

    def kill(self) -> bool:
        """End it without its consent: fence it, tell the parent Killed, fail whoever waits for it.

        :meth:`terminate` is not called. True: the thread is still inside the actor's code and was abandoned;
        it leaves by itself should that code ever return.
        """
        if not self.__claim(Killed()):
            return False
        fence(self.incarnation)
        busy = not self.__idle
        self.inbox.request_stop(Killed())
        self.__close(f"{self.name} was killed")
        try:
            self.killed()  # first: who hears of the end may start the next incarnation at once
        finally:
            self.__announce(Killed())
        return busy

    def killed(self) -> None:
        """Hook on the killer's thread, for actors whose end must take others along."""

    # -- the thread ---------------------------------------------------------------------------------

    @classmethod
    def _create_actor_inbox(cls) -> Inbox:  # Pykka calls it on self; we need the class
        return Inbox(cls.inbox_capacity, cls.control_capacity, drain=cls.drain)

    @staticmethod
    def _create_future() -> Reply:
        return Reply()

    def _start_actor_loop(self) -> None:
        """Pykka's ``start()`` ends here: begin the thread and wait for the handshake."""
        self.__launched = True
        threading.Thread(target=self._actor_loop, name=self.name, daemon=True).start()
        if not self.__ready.wait(self.clock, self.__start_timeout) and self.__claim(Killed()):
            fence(self.incarnation)
            self.__close(f"{self.name} did not start")
            self.__withdraw()
            self.killed()
            raise StartFailed(f"{self.name} did not start within {self.__start_timeout:g} s")
        if self.__start_error is not None:
            raise self.__start_error

    def _actor_loop(self) -> None:
        enter_actor(self)
        try:
            self.__ignored = self.init() is Ignore
        except BaseException as error:  # noqa: BLE001 - also SystemExit: it fails this start and nothing else
            self.__start_error = _answerable(error, self.name)
        if self.__ignored or self.__start_error is not None:
            if self.__claim(Crashed.of(self.__start_error) if self.__start_error is not None else NORMAL):
                self.__close(f"{self.name} did not start")
                self.__withdraw()
            self.__ready.fire()
            return
        self.__ready.fire()
        reason = self.__serve()
        self.__close(f"{self.name} ended: {reason}", keep_open=True)
        if self.__exit is None:
            reason = self.__terminate(reason)
            self.__close(f"{self.name} ended: {reason}")
            if self.__claim(reason):
                self.__announce(reason)

    def __serve(self) -> Reason:
        while True:
            self.__idle = True
            taken = self.inbox.take(self.batch or 1)
            self.__idle = False  # before the look at __exit: kill() looks at them the other way round
            if taken is None:
                return self.inbox.stop_reason or Killed()
            envelopes = [envelope for envelope in taken if self.__admit(envelope)]
            if self.__exit is not None:
                return Killed()
            crash = self.__handle_batch(envelopes) if self.batch else self.__handle_each(envelopes)
            if crash is not None:
                return crash

    def __admit(self, envelope: Envelope) -> bool:
        reply = envelope.reply
        if is_fenced(envelope.sender):
            if reply is not None:
                reply.fail(Fenced("the sender was abandoned by its supervisor"))
            return False
        if reply is None:
            return True
        if reply.given_up:
            return False
        reply.on_settled = self.__open.discard
        self.__open.add(reply)
        if self.__exit is not None:  # killed between take and here, when nobody else knew of this ask
            reply.fail(ActorDead(f"{self.name} was killed", details={"actor": self.name}))
            return False
        return True

    def __handle_each(self, envelopes: list[Envelope]) -> Crashed | None:
        for envelope in envelopes:
            reply = self.__reply = envelope.reply
            self.__deferred = False
            try:
                value = self.receive(_content(envelope))
            except BaseException as error:  # noqa: BLE001 - the actor's edge: its supervisor decides
                if reply is not None:
                    reply.fail(_answerable(error, self.name))
                    if isinstance(error, VordrError):
                        continue
                return Crashed.of(error)
            if reply is not None and not self.__deferred:
                reply.set(value)
        return None

    def __handle_batch(self, envelopes: list[Envelope]) -> Crashed | None:
        try:
            self.receive_batch([Envelope(_content(e), e.reply, e.sender) for e in envelopes])
        except BaseException as error:  # noqa: BLE001 - the actor's edge: its supervisor decides
            for envelope in envelopes:
                if envelope.reply is not None:
                    envelope.reply.fail(_answerable(error, self.name))
            return Crashed.of(error)
        return None

    def __terminate(self, reason: Reason) -> Reason:
        if isinstance(reason, Crashed):
            _log.error("%s crashed: %s\n%s", self.name, reason, reason.traceback)
        try:
            self.terminate(reason)
        except BaseException as error:  # noqa: BLE001 - the actor's edge: its supervisor decides
            _log.exception("%s failed while it ended (%s)", self.name, reason)
            return reason if is_abnormal(reason) else Crashed.of(error)
        return reason

    # -- the end ------------------------------------------------------------------------------------

    def __claim(self, reason: Reason) -> bool:
        """The right to announce the end, given once."""
        with self.__exit_lock:
            if self.__exit is not None:
                return False
            self.__exit = reason
            return True

    def __close(self, why: str, *, keep_open: bool = False) -> None:
        """Take no more messages; fail those that wait and, unless ``keep_open``, the taken but unanswered."""
        left, stops = self.inbox.close()
        self.__stops += stops
        waiting = [envelope.reply for envelope in left if envelope.reply is not None]
        if not keep_open:
            waiting += list(self.__open)
        for reply in waiting:
            reply.fail(ActorDead(why, details={"actor": self.name}))

    def __withdraw(self) -> None:
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        for future in self.__stops:
            future.set(None)
        self.__gone.fire()

    def __announce(self, reason: Reason) -> None:
        parent = self.context.parent
        if parent is not None:
            try:
                parent(ActorExit(self.context.child_id, self.incarnation, reason))
            except ActorDead:
                pass  # the parent ended first; nobody is left to decide
            except Exception:  # noqa: BLE001 - an end that could not be told is an end all the same
                _log.exception("the end of %s could not be told", self.name)
        self.__withdraw()

    def __post(self, message: object, *, control: bool) -> None:
        """Tell itself, past the bound, from any thread; for messages bounded by other means."""
        try:
            self.inbox.offer(Envelope(message), self.name, control=control, force=True)
        except ActorDead:
            pass  # meant for this incarnation only


def _content(envelope: Envelope) -> object:
    message = envelope.message
    return message.wrap(message.outcome) if isinstance(message, _EffectDone) else message


def _answerable(error: BaseException, name: str) -> BaseException:
    """What an asker gets: never a SystemExit or KeyboardInterrupt, which would end *its* thread."""
    return error if isinstance(error, Exception) else ActorDead(f"{name} ended: {error!r}")


_alone: list[Clock] = []
_alone_lock = threading.Lock()


def _shared_clock() -> Clock:
    """One system clock for all actors outside a tree, so that they share its timer thread."""
    with _alone_lock:
        if not _alone:
            _alone.append(SystemClock())
        return _alone[0]
