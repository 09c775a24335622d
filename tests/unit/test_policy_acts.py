"""What policies do when they cannot: tried again for a while, then parked with the reason, until woken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from whole_engine import Whole, eventually, standing_clock, whole_engine

from vordr.actors.clock import VirtualClock
from vordr.engine.aftermath import MOST_TRIES
from vordr.model.errors import InboxFull, JournalFull, RuntimeFailed, StateError
from vordr.model.lifecycle import State
from vordr.model.records import Kind, Record

Here = tuple[Whole, VirtualClock]


@pytest.fixture
def here(memory_path: Path) -> Iterator[Here]:
    clock = standing_clock()
    with whole_engine(memory_path, clock) as whole:
        yield whole, clock


def refuse(monkeypatch: pytest.MonkeyPatch, whole: Whole, times: int) -> None:
    """Let the pool of policy acts be full for the next ``times`` ones."""
    pool = whole.engine._parts.policies
    submit, left = pool.submit, [times]

    def full(*args: Any, **more: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise InboxFull("1024 effects wait already")
        submit(*args, **more)

    monkeypatch.setattr(pool, "submit", full)


def end(whole: Whole, clock: VirtualClock) -> None:
    web = whole.get()
    assert web is not None
    whole.world.end(web.id, 1)
    clock.wait_for_timer(0.1)
    clock.advance(0.1)


def pass_time(whole: Whole, clock: VirtualClock, state: State) -> None:
    """Let time pass until web is ``state``."""
    def come() -> bool:
        found = whole.get()
        assert found is not None
        if found.state is not state:
            clock.advance(min(clock.delays(), default=0.0))
        return found.state is state

    eventually(come, f"web is {state}")


def parked(whole: Whole) -> str | None:
    """Why web is parked, as inspect and list say alike."""
    shown = whole.do("inspect").container.parked
    (listed,) = whole.call("list", all=True).containers
    assert listed.parked == shown
    return shown  # type: ignore[no-any-return]  # an answer is Any here


def park_for_want_of_room(monkeypatch: pytest.MonkeyPatch, whole: Whole, clock: VirtualClock) -> None:
    refuse(monkeypatch, whole, MOST_TRIES)
    whole.run(restart={"mode": "always"})
    end(whole, clock)
    eventually(lambda: clock.advance(min(clock.delays(), default=0.0))
               or whole.do("inspect").container.parked, "parked")


def test_a_restart_that_a_full_pool_refused_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, here: Here
) -> None:
    whole, clock = here
    refuse(monkeypatch, whole, 3)
    whole.run(restart={"mode": "always"})
    end(whole, clock)
    pass_time(whole, clock, State.RUNNING)
    assert parked(whole) is None
    whole.check()


def test_a_removal_that_a_full_pool_refused_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, here: Here
) -> None:
    whole, clock = here
    refuse(monkeypatch, whole, 2)
    web = whole.run(auto_remove=True)
    whole.world.end(web.id, 0)
    eventually(lambda: clock.advance(min(clock.delays(), default=0.0))
               or whole.get(web.id).state is State.REMOVED, "the removal")  # type: ignore[union-attr]
    whole.check()


@pytest.mark.parametrize("error", [JournalFull, InboxFull], ids=["disk", "inbox"])
def test_a_restart_refused_for_want_of_room_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, here: Here, error: type[Exception]
) -> None:
    whole, clock = here
    whole.run(restart={"mode": "always"})
    run, left = whole.host.transactions.run, [2]

    def refused(*args: Any, **more: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise error("full")
        return run(*args, **more)

    monkeypatch.setattr(whole.host.transactions, "run", refused)
    end(whole, clock)
    pass_time(whole, clock, State.RUNNING)
    whole.check()


def test_one_that_never_finds_room_is_parked_with_the_reason_and_journalled(
    monkeypatch: pytest.MonkeyPatch, here: Here
) -> None:
    whole, clock = here
    park_for_want_of_room(monkeypatch, whole, clock)
    assert "1024 effects wait" in str(parked(whole))
    assert clock.delays() == []

    def decided() -> list[Record]:
        return [record for record, _ in whole.journal.records() if record.kind is Kind.DECISION]

    eventually(decided, "it is journalled, which nobody waits for")
    decisions = decided()
    assert [(record.operation, record.principal) for record in decisions] == [("park", "policy")]
    assert "1024 effects wait" in json.dumps(decisions[0].args)


def test_a_look_from_before_the_end_does_not_make_the_parking_forgotten(
    monkeypatch: pytest.MonkeyPatch, here: Here
) -> None:
    """Who read the container while it ran may ask only after a policy gave up on its end."""
    whole, clock = here
    refuse(monkeypatch, whole, MOST_TRIES)
    whole.run(restart={"mode": "always"})
    running = whole.get()
    assert running is not None and running.state is State.RUNNING
    end(whole, clock)
    eventually(lambda: clock.advance(min(clock.delays(), default=0.0))
               or whole.do("inspect").container.parked, "parked")
    assert whole.host.parking.reason(running) is None
    assert "1024 effects wait" in str(parked(whole))


def test_the_parked_one_is_woken_by_hand(monkeypatch: pytest.MonkeyPatch, here: Here) -> None:
    whole, clock = here
    park_for_want_of_room(monkeypatch, whole, clock)
    whole.do("wake")
    pass_time(whole, clock, State.RUNNING)
    assert parked(whole) is None
    with pytest.raises(StateError, match="not parked"):
        whole.do("wake")
    whole.check()


def test_a_start_by_hand_ends_the_parking(monkeypatch: pytest.MonkeyPatch, here: Here) -> None:
    whole, clock = here
    park_for_want_of_room(monkeypatch, whole, clock)
    whole.do("start")
    assert parked(whole) is None
    whole.do("stop")
    assert parked(whole) is None


def test_a_restart_that_fails_is_not_repeated_but_says_why(here: Here) -> None:
    whole, clock = here
    whole.run(restart={"mode": "always"})
    whole.world.fail("launch", RuntimeFailed("no such file or directory"))
    end(whole, clock)
    eventually(lambda: whole.do("inspect").container.parked, "parked")
    assert "no such file" in str(parked(whole))
    whole.check()  # what it left was looked for, which must not begin it anew
    assert clock.delays() == []
    assert whole.said().count("restart:policy") == 1
    whole.check()
