"""An end that somebody brings back is as they left it: what a policy does about ends does not follow it.

One that an act left alone, or gave back because it failed, keeps what was to follow.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from fakeworld import PATIENCE, FakeWorld
from whole_engine import Doom, Whole, eventually, meanwhile, planted, standing_clock, wait_for_restart

from vordr.actors.clock import VirtualClock
from vordr.model.errors import VordrError
from vordr.model.lifecycle import State
from vordr.model.records import Cause
from vordr.model.restart import Sequel, after_exit
from vordr.model.state import ContainerState


def ended(whole: Whole) -> ContainerState:
    """web ran under a policy, and has ended by itself: its restart is to come."""
    web = whole.run(restart={"mode": "always"})
    whole.world.end(web.id, 3)
    return whole.wait_state(State.STOPPED)


def redone(whole: Whole) -> None:
    whole.call("undo")
    whole.call("redo")


def restart_undone(whole: Whole) -> None:
    whole.do("start")
    whole.call("undo")


def removal_undone(whole: Whole) -> None:
    whole.do("remove")
    whole.call("undo")


WAYS = [redone, restart_undone, removal_undone]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_follows_an_end_that_was_brought_back(whole: Whole, way: Callable[[Whole], None]) -> None:
    before = ended(whole)
    way(whole)
    whole.settle()
    back = whole.get()
    assert back is not None and back.digest() == before.digest()
    assert after_exit(back).sequel is Sequel.NOTHING
    whole.host.clock.advance(120.0)
    whole.check()
    assert whole.get() == back
    assert not [act for act in whole.acts() if act.cause is Cause.POLICY]


def kill_redone(whole: Whole) -> None:
    """The process that the undo brought back has ended by itself: there is nothing to kill."""
    web = whole.run(restart={"mode": "always"})
    whole.do("kill")
    whole.call("undo")
    whole.world.end(web.id, 3)
    whole.wait_state(State.STOPPED)
    assert whole.call("redo").steps == ()


def ended_again(whole: Whole) -> str:
    """The process that a restart began has ended by itself, too; the transaction of the restart."""
    web = ended(whole)
    wait_for_restart(whole)
    restart: str = whole.last().txn
    whole.world.end(web.id, 3)
    whole.wait_state(State.STOPPED)
    return restart


def restart_and_end_undone(whole: Whole) -> None:
    """There is nothing to stop."""
    assert whole.call("undo", txn=ended_again(whole), cascade=True).steps == ()


def restart_and_end_redone(whole: Whole) -> None:
    restart_and_end_undone(whole)
    assert whole.call("redo").steps == ()


def let_the_sequel_run(whole: Whole) -> None:
    """The time of what a policy has to do comes, and that runs to its end."""
    eventually(whole.host.clock.delays, "a timer")
    pool, over = whole.engine._parts.policies, threading.Event()
    submit = pool.submit

    def told(run: Callable[[], None], *, on_done: Callable[..., None]) -> None:
        def done(result: object, error: BaseException | None) -> None:
            on_done(result, error)
            over.set()

        submit(run, on_done=done)

    with mock.patch.object(pool, "submit", told):
        whole.host.clock.advance(120.0)
        assert over.wait(PATIENCE), "no policy did anything"


NOTHING_DONE = [kill_redone, restart_and_end_undone, restart_and_end_redone]


@pytest.mark.parametrize("way", NOTHING_DONE)
def test_nothing_follows_an_end_that_was_taken_back_where_nothing_was_to_be_done(
    whole: Whole, way: Callable[[Whole], None]
) -> None:
    way(whole)
    acts = whole.acts()
    let_the_sequel_run(whole)
    whole.check()
    assert whole.do("inspect").container.state is State.STOPPED
    assert whole.acts() == acts
    whole.do("start")
    assert whole.do("inspect").container.state is State.RUNNING


@pytest.mark.parametrize("way", NOTHING_DONE)
def test_nor_when_the_engine_opens_again_after_that(first: Whole, way: Callable[[Whole], None]) -> None:
    way(first)
    acts = first.acts()
    with reopened(first, first.world) as again:
        let_the_sequel_run(again)
        again.check()
        assert again.acts() == acts


def test_an_end_that_is_taken_back_between_the_plan_of_its_restart_and_the_begin_has_none(
    monkeypatch: pytest.MonkeyPatch, whole: Whole
) -> None:
    restart = ended_again(whole)
    meanwhile(monkeypatch, whole, lambda: whole.call("undo", txn=restart, cascade=True))
    let_the_sequel_run(whole)
    whole.check()
    assert whole.last().act == "undo" and whole.do("inspect").container.state is State.STOPPED


@contextlib.contextmanager
def reopened(whole: Whole, world: FakeWorld | None) -> Iterator[Whole]:
    """The engine that comes after ``whole``, in what that left; sound afterwards."""
    assert world is not None
    whole.close()
    again = Whole(whole.paths.root, world, VirtualClock(whole.host.clock.now_us()))
    try:
        yield again
        again.check()
    finally:
        again.close()


@pytest.fixture
def first(memory_path: Path) -> Whole:
    """An engine that the test closes, to open the next."""
    return planted(memory_path / "root", clock=standing_clock())


@pytest.mark.parametrize("way", WAYS)
def test_nor_when_the_engine_opens_again(first: Whole, way: Callable[[Whole], None]) -> None:
    ended(first)
    way(first)
    with reopened(first, first.world) as again:
        again.check()
        back = again.get()
        assert back is not None and after_exit(back).sequel is Sequel.NOTHING
        again.host.clock.advance(120.0)
        again.check()
        assert not [act for act in again.acts() if act.cause is Cause.POLICY]


def test_an_undo_that_fails_leaves_the_end_what_was_to_follow(whole: Whole) -> None:
    web = ended(whole)
    whole.world.fail("discard")
    with pytest.raises(VordrError, match="discard was made to fail"):
        whole.call("undo")
    kept = whole.get()
    assert kept is not None and kept.asked_to_stop is False
    whole.host.clock.advance(60.0)
    assert whole.wait_state(State.RUNNING).process > web.process
    whole.check()


@pytest.mark.parametrize("steps", range(4))
def test_a_start_in_which_the_engine_dies_ends_in_a_running_container(first: Whole, steps: int) -> None:
    """By that start, or by the policy that was to restart it."""
    ended(first)
    doom = Doom(first, steps)
    with contextlib.suppress(VordrError):
        first.do("start")
    with reopened(first, doom.left) as again:
        wait_for_restart(again)


@pytest.mark.parametrize("steps", range(2, 7))
def test_an_undo_that_a_recovery_gives_up_leaves_the_end_what_was_to_follow(
    first: Whole, steps: int
) -> None:
    ended(first)
    first.world.fail("discard", times=5)
    doom = Doom(first, steps)
    with pytest.raises(VordrError):
        first.call("undo")
    assert doom.left is not None
    doom.left.fail("discard", times=5)
    with reopened(first, doom.left) as again:
        wait_for_restart(again)
