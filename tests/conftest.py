"""Makes what tests of several folders share (memory_engine, whole_engine) importable by its name."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_folder import memory_folder


def pytest_configure() -> None:
    """A run that is told to end takes away what it made, as one that is interrupted does.

    Who starts it in the background may have interrupts ignored, which all that is tested would inherit.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A fresh folder where an fsync costs nothing: journals are opened by the hundred there."""
    folder = memory_folder()
    yield folder
    shutil.rmtree(folder)
