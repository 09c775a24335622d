"""Words to systemd: sd_notify(3) and its watchdog, without libsystemd."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
WATCHDOG: Final = "WATCHDOG=1"


class Notifier:
    """Tells systemd about us if it asked to be told.

    Takes its variables out of ``environment``, so that nothing we start speaks in our name.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        self._address = _address(environment.pop("NOTIFY_SOCKET", ""))
        microseconds = environment.pop("WATCHDOG_USEC", "")
        process = environment.pop("WATCHDOG_PID", "")
        ours = process in {"", str(os.getpid())}
        self._watchdog = int(microseconds) / 1e6 if ours and microseconds.isdecimal() else 0.0

    @property
    def period(self) -> float | None:
        """Seconds between two signs of life: half of what systemd waits for; None: it does not wait."""
        return self._watchdog / 2 if self._watchdog > 0 and self._address is not None else None

    def tell(self, *lines: str) -> bool:
        """Send assignments such as :data:`READY`; false when nobody listens.

        systemd going deaf is no reason to stop serving, so a failing send is only reported.
        """
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return False
        return True


def _address(text: str) -> str | None:
    """A path, or ``@name`` for an abstract socket (sd_notify(3)); other forms are not for us."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None
