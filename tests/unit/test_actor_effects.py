"""The effect pool, effects of actors, and the clocks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from vordr.actors.actor import Actor, Outcome
from vordr.actors.clock import Signal, SystemClock, VirtualClock
from vordr.actors.context import Services, StartContext
from vordr.actors.handle import Handle
from vordr.actors.pool import EffectPool
from vordr.model.errors import ActorDead, InboxFull, SupervisionError

REAL = SystemClock()


class Box:
    """Collects ends of effects."""

    def __init__(self) -> None:
        self.ends: list[tuple[Any, BaseException | None]] = []
        self._cond = threading.Condition()

    def done(self, value: Any, error: BaseException | None) -> None:
        with self._cond:
            self.ends.append((value, error))
            self._cond.notify_all()

    def wait(self, count: int) -> None:
        with self._cond:
            assert self._cond.wait_for(lambda: len(self.ends) >= count, 10)


@pytest.fixture
def pool() -> Iterator[EffectPool]:
    pool = EffectPool(2, queue_size=2)
    yield pool
    pool.close(5)


def test_effects_end_with_their_value_or_their_error(pool: EffectPool) -> None:
    box = Box()
    pool.submit(divmod, 7, 2, on_done=box.done)
    box.wait(1)
    pool.submit(lambda: 1 // 0, on_done=box.done)
    box.wait(2)

    def leave() -> None:
        raise SystemExit(1)

    pool.submit(leave, on_done=box.done)
    box.wait(3)
    assert box.ends[0] == ((3, 1), None)
    assert [type(error) for _, error in box.ends[1:]] == [ZeroDivisionError, SystemExit]


def test_no_more_effects_run_than_there_are_workers_and_the_queue_is_bounded(pool: EffectPool) -> None:
    gate, running, box = threading.Event(), threading.Semaphore(0), Box()

    def work() -> None:
        running.release()
        gate.wait(20)

    for _ in range(2):
        pool.submit(work, on_done=box.done)
        assert running.acquire(timeout=10)
    for _ in range(2):
        pool.submit(work, on_done=box.done)
    with pytest.raises(InboxFull):
        pool.submit(work, on_done=box.done)
    assert not running.acquire(blocking=False)
    gate.set()
    box.wait(4)


def test_closing_fails_what_waits_and_waits_for_what_runs(pool: EffectPool) -> None:
    gate, running, box = threading.Event(), threading.Semaphore(0), Box()

    def work() -> str:
        running.release()
        gate.wait(20)
        return "done"

    for _ in range(2):
        pool.submit(work, on_done=box.done)
        assert running.acquire(timeout=10)
    pool.submit(work, on_done=box.done)
    assert not pool.close(0)
    assert isinstance(box.ends[0][1], ActorDead)
    gate.set()
    assert pool.close(10)
    assert [value for value, _ in box.ends] == [None, "done", "done"]
    with pytest.raises(ActorDead):
        pool.submit(work, on_done=box.done)


def test_a_callback_that_raises_does_not_cost_a_worker(pool: EffectPool) -> None:
    box = Box()

    def bad(value: Any, error: BaseException | None) -> None:
        box.done(value, error)
        raise ValueError

    for count in (1, 2):
        pool.submit(lambda: None, on_done=bad)
        box.wait(count)
    pool.submit(lambda: "ok", on_done=box.done)
    box.wait(3)


class Doer(Actor):
    """Runs what it is told to as an effect; keeps outcomes."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Outcome] = []
        self.heard = threading.Event()

    def receive(self, message: object) -> object:
        match message:
            case Outcome():
                self.got.append(message)
                self.heard.set()
            case ("wrap", fn, wrap):
                self.spawn_effect(fn, wrap)
            case _:
                self.spawn_effect(message, lambda outcome: outcome)  # type: ignore[arg-type]
        return None


def launch(actor: Actor, pool: EffectPool | None) -> Handle:
    handle = Handle("doer", actor)
    actor.launch(StartContext(("doer",), handle, Services(VirtualClock(), pool)))
    return handle


def test_an_effect_comes_back_as_a_message_and_the_actor_stays_responsive(pool: EffectPool) -> None:
    actor, gate = Doer(), threading.Event()
    handle = launch(actor, pool)
    handle.tell(lambda: gate.wait(20) and "result")
    assert handle.ask(lambda: None, 10) is None
    gate.set()
    while len(actor.got) < 2:
        assert actor.heard.wait(10)
    assert {outcome.value for outcome in actor.got} == {"result", None}
    actor.stop()


def test_an_outcome_for_an_incarnation_that_ended_is_dropped(pool: EffectPool) -> None:
    actor, gate, ended = Doer(), threading.Event(), threading.Event()
    handle = launch(actor, pool)

    def work() -> None:
        gate.wait(20)
        ended.set()

    handle.ask(work, 10)
    actor.stop()
    assert actor.wait_end(REAL, 10)
    gate.set()
    assert ended.wait(10)
    assert pool.close(10)
    assert actor.got == []


def test_a_wrap_that_raises_crashes_the_actor_it_would_have_left_waiting(pool: EffectPool) -> None:
    actor = Doer()
    launch(actor, pool).tell(("wrap", lambda: 1, lambda outcome: outcome.nonsense))
    assert actor.wait_end(REAL, 10)
    assert "AttributeError" in str(actor.exit_reason)


def test_an_outcome_unwraps_to_its_value_or_its_error() -> None:
    assert Outcome(5).unwrap() == 5
    with pytest.raises(KeyError):
        Outcome(error=KeyError("x")).unwrap()


def test_without_a_pool_an_effect_is_refused() -> None:
    actor = Doer()
    handle = launch(actor, None)
    with pytest.raises(SupervisionError, match="no effect pool"):
        handle.ask(lambda: None, 10)
    actor.stop()


# -- clocks ---------------------------------------------------------------------------------------------


def test_the_virtual_clock_runs_calls_in_due_order_each_at_its_time() -> None:
    clock, ran = VirtualClock(), []

    def at(name: str) -> None:
        ran.append((name, clock.monotonic()))

    clock.call_later(3, lambda: at("c"))
    clock.call_later(1, lambda: (at("a"), clock.call_later(1, lambda: at("b"))))
    clock.call_later(2.5, lambda: at("cancelled")).cancel()
    wall = clock.now_us()
    clock.advance(2.9)
    assert ran == [("a", 1), ("b", 2)]
    clock.advance(10)
    assert ran[-1] == ("c", 3)
    assert clock.now_us() - wall == 12_900_000


def test_a_timer_that_raises_does_not_stop_the_others() -> None:
    clock, ran = VirtualClock(), threading.Event()
    clock.call_later(1, lambda: 1 // 0)
    clock.call_later(2, ran.set)
    clock.advance(2)
    assert ran.is_set()


def test_the_system_clock_runs_all_timers_on_one_daemon_thread() -> None:
    clock, threads, done = SystemClock(), set(), threading.Semaphore(0)

    def tick() -> None:
        threads.add(threading.current_thread())
        done.release()

    cancelled = clock.call_later(0.0, lambda: None)
    cancelled.cancel()
    for delay in (0.004, 0.002, 0.0):
        clock.call_later(delay, tick)
    clock.call_later(3600, tick)
    for _ in range(3):
        assert done.acquire(timeout=10)
    (thread,) = threads
    assert thread.daemon
    clock.close()
    thread.join(10)
    assert not thread.is_alive()
    assert not clock.call_later(0, tick).live


def test_cancelled_long_waits_do_not_pile_up() -> None:
    clock = SystemClock()
    for _ in range(5000):
        clock.call_later(3600, lambda: None).cancel()
    assert len(clock._heap) < 1000
    clock.close()


def test_a_signal_wait_ends_by_its_firing_or_by_the_clock() -> None:
    clock, signal = VirtualClock(), Signal()
    assert not signal.wait(clock, 0)
    results: list[bool] = []
    waiter = threading.Thread(target=lambda: results.append(signal.wait(clock, 5)))
    waiter.start()
    clock.wait_for_timer(5)
    clock.advance(5)
    waiter.join(10)
    assert results == [False]
    signal.fire()
    assert signal.wait(clock, None)
    assert clock.delays() == []
