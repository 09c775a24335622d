"""What tests of the supervisor share."""

from collections.abc import Iterator

import pytest
from supervisor_world import World


@pytest.fixture
def world() -> Iterator[World]:
    """A supervisor tree on a virtual clock, gone after the test."""
    world = World()
    yield world
    world.close()
