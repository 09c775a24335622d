"""Makes what tests of several folders share (memory_engine, whole_engine) importable by its name."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_folder import MEMORY


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A fresh folder where an fsync costs nothing: journals are opened by the hundred there."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)
