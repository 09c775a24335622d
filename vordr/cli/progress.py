"""One line of progress on a terminal while an operation works; nothing elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager

from vordr.cli.units import printable, size

TYPE_CHECKING = False  # not typing's: the fast path imports this when the first event comes
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    from vordr.cli.context import Session
    from vordr.engine.protocol import Event, OnEvent

_BAR: Final = 24
_CLEAR: Final = "\r\x1b[K"


@contextmanager
def progress(session: Session) -> Iterator[OnEvent | None]:
    """A handler of the engine's progress events, or None when nobody looks; the line is wiped at the end."""
    if session.json or not sys.stderr.isatty():
        yield None
        return
    line = ProgressLine()
    try:
        yield line.show
    finally:
        line.wipe()


class ProgressLine:
    """One line on standard error, drawn anew by each event."""

    def __init__(self) -> None:
        self._drawn = ""

    def show(self, event: Event) -> None:
        if event.get("event") != "progress":
            return
        text = progress_line(event)
        if text != self._drawn:
            self._drawn = text
            sys.stderr.write(_CLEAR + text)
            sys.stderr.flush()

    def wipe(self) -> None:
        if self._drawn:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()


def progress_line(event: Event) -> str:
    """``phase [#####     ] 12/48``; without a total only what is done. Pure."""
    phase, done, total = printable(str(event.get("phase", ""))), event.get("done"), event.get("total")
    if not isinstance(done, int):
        return phase
    if not isinstance(total, int) or total <= 0:
        return f"{phase} {_amount(done)}" if done else phase
    filled = min(_BAR, _BAR * done // total)
    return f"{phase} [{'#' * filled}{' ' * (_BAR - filled)}] {_amount(done)}/{_amount(total)}"


def _amount(count: int) -> str:
    return size(count) if count >= 10_000 else str(count)
