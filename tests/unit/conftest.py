"""What several tests share: the supervisor's world, and a whole engine whose clock stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from supervisor_world import World

if TYPE_CHECKING:
    from whole_engine import Whole


@pytest.fixture
def world() -> Iterator[World]:
    """A supervisor tree on a virtual clock, gone after the test."""
    world = World()
    yield world
    world.close()


@pytest.fixture
def whole(memory_path: Path) -> Iterator[Whole]:
    """An engine with trust and one image, on a clock that only the test moves; sound after the test."""
    from whole_engine import planted, standing_clock  # all of the engine, which most tests need not load

    made = planted(memory_path / "root", clock=standing_clock())
    try:
        yield made
        made.check()
    finally:
        made.close()
