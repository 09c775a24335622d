"""What lies in the trash goes when its deadline has passed, by acts of the engine's own."""

from __future__ import annotations

import logging
from typing import Final

from vordr.actors.pool import EffectPool
from vordr.engine.handlers.trash import empty_expired
from vordr.engine.host import Host
from vordr.model.errors import VordrError

FIRST: Final = 60.0
"""Seconds after the opening at which the trash is looked through."""
EVERY: Final = 3600.0
_log = logging.getLogger("vordr.engine")


class Expiry:
    """Looks through the trash now and then, until the pool is closed. What cannot go is tried again."""

    def __init__(self, host: Host, pool: EffectPool) -> None:
        self.host = host
        self.pool = pool

    def begin(self) -> None:
        """Look in a minute, and then every hour."""
        self._later(FIRST)

    def _later(self, seconds: float) -> None:
        self.host.clock.call_later(seconds, self._look)

    def _look(self) -> None:
        try:
            self.pool.submit(empty_expired, self.host, on_done=self._looked)
        except VordrError as error:
            self._looked(None, error)

    def _looked(self, result: object, error: BaseException | None) -> None:
        if self.host.journal.ended:
            return
        if error is not None:
            _log.warning("the trash could not be emptied of what is past its deadline: %s", error)
        self._later(EVERY)
