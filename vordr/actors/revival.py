"""Waiting for the next incarnation of an actor that crashed."""

from __future__ import annotations

import threading
import time
from typing import Final

from vordr.actors.handle import Handle

REVIVAL: Final = 10.0
"""Seconds that a step waits for a crashed actor's next incarnation."""
_EVERY: Final = 0.02


def await_revival(handle: Handle) -> None:
    """Return when somebody lives behind ``handle`` again, or after :data:`REVIVAL` seconds."""
    waited = threading.Event()
    deadline = time.monotonic() + REVIVAL
    while not handle.alive and time.monotonic() < deadline:
        waited.wait(_EVERY)
