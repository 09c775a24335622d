"""Starting, failing and ending of one actor: what Pykka lacks (design §5)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pykka
import pytest

from vordr.actors.actor import Actor, Ignore
from vordr.actors.clock import SystemClock, VirtualClock
from vordr.actors.context import Services, StartContext
from vordr.actors.handle import Handle, is_fenced
from vordr.actors.reasons import ActorExit, Crashed, Killed, Normal, Reason, Shutdown
from vordr.model.errors import ActorDead, NameInUse, StartFailed

REAL = SystemClock()


class Echo(Actor):
    """Returns what it is sent, raises exceptions, calls callables with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[Reason] = []

    def receive(self, message: object) -> object:
        if isinstance(message, BaseException):
            raise message
        return message(self) if callable(message) else message

    def terminate(self, reason: Reason) -> None:
        self.ends.append(reason)


class Threaded(Echo):
    """Remembers the thread that its init ran on."""

    def init(self) -> None:
        self.thread = threading.current_thread()


class Nest:
    """Starts actors the way a supervisor does and keeps their exit notices."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.exits: list[ActorExit] = []
        self.started: list[Actor] = []

    def launch(self, actor: Actor, timeout: float | None = None, **kw: Any) -> Handle:
        handle = Handle("nest/it", actor)
        services = Services(clock=self.clock, **kw)
        self.started.append(actor)
        actor.launch(StartContext(("nest", "it"), handle, services, (0,), self.exits.append), timeout)
        return handle


@pytest.fixture
def nest() -> Iterator[Nest]:
    nest = Nest()
    yield nest
    for actor in nest.started:
        actor.stop()


def test_init_runs_on_the_actors_thread_before_start_returns(nest: Nest) -> None:
    actor = Threaded()
    nest.launch(actor)
    assert actor.thread is not threading.current_thread()
    assert actor.thread.daemon


@pytest.mark.parametrize("error", [NameInUse("taken"), ValueError("no"), SystemExit(1)], ids=repr)
def test_a_failing_init_fails_the_start_and_leaves_no_actor(nest: Nest, error: BaseException) -> None:
    class Broken(Echo):
        def init(self) -> None:
            raise error

    actor = Broken()
    expected = type(error) if isinstance(error, Exception) else ActorDead
    with pytest.raises(expected):
        nest.launch(actor)
    assert actor.actor_ref not in pykka.ActorRegistry.get_all()
    assert actor.ended and not actor.ends and not nest.exits


def test_a_failing_init_also_fails_pykkas_own_start() -> None:
    class Broken(Echo):
        def init(self) -> None:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Broken.start()


def test_an_actor_may_decline_to_run(nest: Nest) -> None:
    class Idle(Echo):
        def init(self) -> Any:
            return Ignore

    actor = Idle()
    handle = nest.launch(actor)
    assert not handle.alive
    assert nest.exits == []


def test_an_init_that_hangs_is_abandoned_after_its_time(nest: Nest) -> None:
    gate = threading.Event()

    class Slow(Echo):
        def init(self) -> None:
            gate.wait(20)

    actor = Slow()
    ticker = threading.Thread(target=lambda: (nest.clock.wait_for_timer(9), nest.clock.advance(9)))
    ticker.start()
    with pytest.raises(StartFailed, match="within 9 s"):
        nest.launch(actor, 9)
    ticker.join()
    assert actor.fenced
    gate.set()
    assert actor.exit_reason == Killed() and nest.exits == []


def test_the_exit_notice_comes_exactly_once_with_the_reason(nest: Nest) -> None:
    actor = Echo()
    nest.launch(actor)
    actor.stop(Shutdown("enough"))
    actor.stop(Normal())
    assert actor.wait_end(REAL, 10)
    assert nest.exits == [ActorExit("it", actor.incarnation, Shutdown("enough"))]
    assert actor.ends == [Shutdown("enough")]


def test_an_exception_in_a_tell_crashes_the_actor_with_its_traceback(nest: Nest) -> None:
    actor = Echo()
    nest.launch(actor).tell(NameInUse("even ours"))
    assert actor.wait_end(REAL, 10)
    (exit,) = nest.exits
    assert isinstance(exit.reason, Crashed)
    assert "NameInUse" in exit.reason.traceback and "receive" in exit.reason.traceback
    assert actor.ends == [exit.reason]


def test_a_vordr_error_in_an_ask_is_only_answered(nest: Nest) -> None:
    handle = nest.launch(Echo())
    with pytest.raises(NameInUse, match="taken"):
        handle.ask(NameInUse("taken"), 10)
    assert handle.ask("still here", 10) == "still here"


def test_any_other_exception_in_an_ask_is_answered_and_crashes(nest: Nest) -> None:
    actor = Echo()
    handle = nest.launch(actor)
    with pytest.raises(ZeroDivisionError):
        handle.ask(lambda me: 1 // 0, 10)
    assert actor.wait_end(REAL, 10)
    assert isinstance(nest.exits[0].reason, Crashed)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_a_base_exception_ends_its_actor_and_no_other(nest: Nest, error: BaseException) -> None:
    bystander = Echo()
    other = nest.launch(bystander)
    actor = Echo()
    handle = nest.launch(actor)
    with pytest.raises(ActorDead):
        handle.ask(error, 10)
    assert actor.wait_end(REAL, 10)
    assert isinstance(nest.exits[0].reason, Crashed)
    assert other.ask("alive", 10) == "alive"


def test_an_exception_while_ending_makes_a_normal_end_a_crash(nest: Nest) -> None:
    class Clumsy(Echo):
        def terminate(self, reason: Reason) -> None:
            raise ValueError("dropped it")

    actor = Clumsy()
    nest.launch(actor)
    actor.stop()
    assert actor.wait_end(REAL, 10)
    assert isinstance(nest.exits[0].reason, Crashed)


def test_a_killed_actor_gives_one_notice_and_does_not_terminate(nest: Nest) -> None:
    entered, gate, left = threading.Event(), threading.Event(), threading.Event()

    def busy(me: Actor) -> None:
        entered.set()
        gate.wait(20)
        left.set()

    actor = Echo()
    nest.launch(actor).tell(busy)
    assert entered.wait(10)
    assert actor.kill()
    assert not actor.kill()
    gate.set()
    assert left.wait(10)
    assert [exit.reason for exit in nest.exits] == [Killed()]
    assert is_fenced(actor.incarnation) and actor.ends == []


def test_killing_an_idle_actor_abandons_no_thread(nest: Nest) -> None:
    actor = Threaded()
    nest.launch(actor).ask("settled", 10)
    while not actor._Actor__idle:  # type: ignore[attr-defined]  # mangled
        pass  # until its thread waits for a message
    assert not actor.kill()
    actor.thread.join(10)
    assert not actor.thread.is_alive()


def test_incarnations_grow(nest: Nest) -> None:
    assert Echo().incarnation < Echo().incarnation


def test_pykkas_own_reference_asks_and_stops() -> None:
    ref = Echo.start()
    assert ref.ask("hello", timeout=5) == "hello"
    assert ref.stop(timeout=5)
    assert not ref.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("hello")
    assert ref not in pykka.ActorRegistry.get_all()


def test_after_tells_the_same_incarnation_later(nest: Nest) -> None:
    heard = threading.Event()
    actor = Echo()
    handle = nest.launch(actor)
    handle.ask(lambda me: me.after(5, lambda me: heard.set()) and None, 10)
    nest.clock.advance(4.9)
    assert handle.ask("no", 10) == "no" and not heard.is_set()
    nest.clock.advance(0.1)
    assert heard.wait(10)
    handle.ask(lambda me: me.after(5, "late") and None, 10)
    actor.stop()
    assert actor.wait_end(REAL, 10)
    nest.clock.advance(5)


def test_hundreds_of_actors_run_and_their_threads_end_with_them(nest: Nest) -> None:
    actors = [Threaded() for _ in range(300)]
    for actor in actors:
        nest.launch(actor)
    assert all(actor.thread.is_alive() for actor in actors)
    for actor in actors:
        actor.stop()
    for actor in actors:
        actor.thread.join(10)
        assert not actor.thread.is_alive()
