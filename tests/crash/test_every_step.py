"""SIGKILL at every durable step of every operation on containers, and of the recovery; the real kernel.

What may be interrupted comes from the registry and the lifecycle table (failpoint.scenes); where, from a life
in which nothing was. A life is a process with the production engine that is killed at one point; the next
engine opens what it left. VORDR_SOAK crashes at every point, else at one of each kind (failpoint.choice).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from failpoint import choice, scenes, soundness
from failpoint.points import ANY, Fatal
from failpoint.scenes import Scene
from failpoint.stage import Declared, Stage, Told, stage

from vordr.model.lifecycle import TABLE, Op, State
from vordr.model.operations import REGISTRY

# Every point of every scene is a matter of hours.
pytestmark = pytest.mark.timeout(7200) if choice.SOAK else []

SCENES = {scene.name: scene for scene in scenes.scenes()}
UNTOUCHED = ("pause", "resume", "exec", "kill beside")
"""Scenes whose process goes on whether they happened or not."""

NOT_OF_CONTAINERS = {
    "pull", "remove_image", "pack", "adopt", "gather", "trust_init", "trust_add", "trust_revoke",
    "trust_update"}
"""Mutating operations that these scenes do not interrupt: test_every_holding_step does."""

RECOVERED = {f"intent {row.op}" for row in TABLE}
"""Kinds of points (failpoint.choice) where the crashes of the recovery begin, each as every other is."""


@dataclass(frozen=True)
class Played:
    """A scene that nothing interrupted: its points, and what was declared before and after it."""

    points: tuple[str, ...]
    before: Declared
    after: Declared


@dataclass(frozen=True)
class World:
    stage: Stage
    played: dict[str, Played]
    chosen: dict[str, list[Fatal]]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with stage() as made:
        played = _played(made.live(do="survey"))
        made.assert_sound()
        chosen = choice.chosen({name: one.points for name, one in played.items()}, elsewhere=RECOVERED)
        yield World(made, played, chosen)


def _played(told: Told) -> dict[str, Played]:
    starts = [at for at, line in enumerate(told.lines) if line.startswith("scene ")]
    found = {}
    for start, stop in zip(starts, [*starts[1:], len(told.lines)], strict=True):
        one = Told(told.lines[start:stop], 0)
        found[one.all("scene")[0]] = Played(
            one.points, one.about("ready")["declared"], one.about("after")["declared"])
    return found


def test_every_mutating_operation_and_every_row_of_the_lifecycle_is_interrupted(world: World) -> None:
    covered = set().union(*(scene.covers for scene in SCENES.values()))
    assert {name for name, op in REGISTRY.items() if op.mutating} - covered == NOT_OF_CONTAINERS
    journalled = {word for one in world.played.values() for name in one.points
                  if " journal " in name for part in name.split("+") for word in part.split()[-1:]}
    assert {str(row.op) for row in TABLE} <= journalled


@pytest.mark.parametrize("name", SCENES)
def test_a_crash_at_any_step_is_as_if_the_act_had_not_been_or_had_been(world: World, name: str) -> None:
    standing: int | None = None
    for fatal in world.chosen[name]:
        told = world.stage.live(do="play", scene=name, fatal=fatal, standing=standing)
        stands = _assert_before_or_after(world, SCENES[name], fatal, told)
        # One that ended again and again would be restarted later and later (vordr.model.restart).
        stays = stands == world.played[name].before and not SCENES[name].has_sequel
        standing = told.about("ready")["since"] if stays else None


def _assert_before_or_after(world: World, scene: Scene, fatal: Fatal, told: Told) -> Declared:
    """What is declared after the crash."""
    played, ready = world.played[scene.name], told.about("ready")
    assert told.signal or told.points.count(fatal[0]) < fatal[1], f"{fatal} did not end it"
    happened = scene.has_sequel or told.has("acted")
    expected = [played.after] if happened else [played.before, played.after]
    try:
        left = world.stage.assert_sound(ready["since"], expected, sequel=scene.has_sequel)
    except AssertionError as error:
        raise AssertionError(f"{scene.name}, killed at {fatal}: {error}") from error
    if ready["ids"]:
        assert {container.id for container in left} <= set(ready["ids"]), fatal
    for container in left:
        if container.state is State.STOPPED:
            known = (scenes.CODE, 137) if scene.ends_by_asking is None else (scene.ends_by_asking,)
            assert container.exit_code in known, (fatal, container.exit_code)
    if scene.name.startswith(UNTOUCHED):
        assert [[c.pid, soundness.started(c.pid)] for c in left if c.pid is not None] == ready["processes"]
    return soundness.declared(left)


@pytest.mark.parametrize("op", [row.op for row in TABLE])
def test_a_crash_of_the_recovery_is_recovered_from(world: World, op: Op) -> None:
    name, interrupted = _interruption(world, op)
    recovery: dict[str, Any] = {"do": "recover"}
    fatals = [(ANY, 2 + 3 * (list(Op).index(op) % 4))]
    if choice.SOAK:
        world.stage.live(do="play", scene=name, fatal=interrupted)
        fatals = choice.every(world.stage.live(**recovery, fatal=None).points)
    for fatal in fatals:
        told = world.stage.live(do="play", scene=name, fatal=interrupted)
        assert told.signal, interrupted
        world.stage.live(**recovery, fatal=fatal)
        _assert_before_or_after(world, SCENES[name], interrupted, told)


def test_the_journal_of_all_these_lives_is_whole(world: World) -> None:
    world.stage.assert_audit()


def _interruption(world: World, op: Op) -> tuple[str, Fatal]:
    """A scene with a step ``op``, and the point where that was begun and its outcome not yet journalled."""
    for name, one in world.played.items():
        for point in one.points:
            begun = point.startswith("after journal ") and point.endswith(f"intent {op}")
            if begun or (op is Op.EXIT and point == "before clear" and name.startswith(scenes.END)):
                return name, (point, 1)
    raise AssertionError(f"no scene has a step {op}")
