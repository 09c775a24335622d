"""Waiting for the next incarnation of an actor that crashed."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from vordr.actors.handle import Handle

REVIVAL: Final = 10.0
"""Seconds that a step waits for a crashed actor's next incarnation."""
_EVERY: Final = 0.02


def await_revival(handle: Handle, journal: Any) -> None:
    """Return when somebody lives behind ``handle`` again, or after :data:`REVIVAL` seconds.

    At once when ``journal`` has ended: it is never started again, and the tree goes with it.
    """
    waited = threading.Event()
    deadline = time.monotonic() + REVIVAL
    while not handle.alive and not journal.ended and time.monotonic() < deadline:
        waited.wait(_EVERY)
