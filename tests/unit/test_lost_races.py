"""Acts that lose a race with the end of the process hear what happened: the lifecycle's own refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from whole_engine import Whole, whole_engine

from vordr.model.errors import ContainerStopped, IllegalTransition, RuntimeFailed
from vordr.model.lifecycle import State


@pytest.fixture
def whole(memory_path: Path) -> Iterator[Whole]:
    with whole_engine(memory_path) as made:
        yield made


def end_under(whole: Whole, effect: str, ask: Callable[[], object]) -> object:
    """``ask``, with the process ending when ``effect`` is about to begin."""
    web = whole.get()
    assert web is not None
    gate = whole.world.hold(effect)
    asked = whole.begin(ask)
    gate.wait_entered()
    whole.world.end(web.id, 3)
    gate.open()
    return asked.result()


@pytest.mark.parametrize(("operation", "state"), [("pause", "running"), ("resume", "paused")])
def test_freezing_and_thawing_what_has_ended_is_refused_as_of_a_stopped_container(
    whole: Whole, operation: str, state: str
) -> None:
    whole.run()
    if state == "paused":
        whole.do("pause")
    with pytest.raises(IllegalTransition, match="web is stopped"):
        end_under(whole, operation, lambda: whole.do(operation))
    assert whole.wait_state(State.STOPPED).exit_code == 3
    whole.check()


def test_an_undo_that_loses_the_race_is_refused_likewise(whole: Whole) -> None:
    whole.run()
    whole.do("pause")
    with pytest.raises(IllegalTransition):
        end_under(whole, "resume", lambda: whole.call("undo"))
    whole.wait_state(State.STOPPED)
    whole.check()


def test_a_command_for_what_has_ended_is_refused_as_for_a_stopped_container(whole: Whole) -> None:
    web = whole.run()

    def ended() -> None:
        whole.world.end(web.id, 3)
        raise RuntimeFailed("cannot exec in a stopped container")

    whole.world.trap("execute", ended)
    with pytest.raises(ContainerStopped, match="web"):
        whole.do("exec", command=["true"])
    whole.check()


def test_a_command_that_fails_in_a_living_container_says_why(whole: Whole) -> None:
    whole.run()
    whole.world.fail("execute", RuntimeFailed("no room for a process"))
    with pytest.raises(RuntimeFailed, match="no room"):
        whole.do("exec", command=["true"])
    whole.check()


def test_a_pause_that_fails_in_a_living_container_says_why(whole: Whole) -> None:
    whole.run()
    whole.world.fail("pause", RuntimeFailed("no freezer"))
    with pytest.raises(RuntimeFailed, match="no freezer"):
        whole.do("pause")
    whole.check()


def test_a_stop_of_a_paused_container_that_ends_meanwhile_takes_its_end(whole: Whole) -> None:
    whole.run()
    whole.do("pause")
    stopped = end_under(whole, "resume", lambda: whole.do("stop"))
    assert stopped.container.exit_code == 3  # type: ignore[attr-defined]  # an answer is Any here
    whole.check()
