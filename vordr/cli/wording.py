"""Times, sizes and states in docker's words (its units package). Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from vordr.cli.units import ago, command_text, duration, printable, shortened, size, status
from vordr.formats.errors import FormatError
from vordr.formats.times import format_rfc3339, parse_rfc3339
from vordr.model.errors import UsageError
from vordr.model.lifecycle import State
from vordr.model.state import ContainerState

__all__ = [
    "ago", "command_text", "docker_state", "duration", "local_time", "parse_when", "printable", "rfc3339",
    "shortened", "size", "status",
]

_SECOND: Final = 1_000_000
_MINUTE: Final = 60
_HOUR: Final = 3600


def docker_state(container: ContainerState) -> str:
    """docker's word for a state: it says exited for stopped."""
    return "exited" if container.state is State.STOPPED else str(container.state)


def local_time(us: int) -> str:
    """As docker's ``{{.CreatedAt}}``: ``2026-01-02 15:04:05 +0000 UTC``, in local time."""
    moment = datetime.fromtimestamp(us // _SECOND, UTC).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S %z %Z").rstrip()


def rfc3339(us: int | None) -> str | None:
    return None if us is None else format_rfc3339(us)


_RELATIVE: Final = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:T\d{2}(?::\d{2}(?::\d{2}(?:\.\d+)?)?)?)?")


def parse_when(text: str, now_us: int) -> int:
    """docker's ``--since``: ``10m``, ``1h30m`` (before now), a Unix time, RFC 3339, or a local date and time.

    Answers µs since the epoch; raises UsageError.
    """
    if match := re.fullmatch(r"(\d+)(?:\.(\d{1,9}))?", text):
        return int(match[1]) * _SECOND + int((match[2] or "").ljust(6, "0")[:6])
    if match := _RELATIVE.fullmatch(text):
        hours, minutes, seconds, millis = (float(group or 0) for group in match.groups())
        return now_us - round((hours * _HOUR + minutes * _MINUTE + seconds) * _SECOND + millis * 1000)
    try:
        return parse_rfc3339(text)
    except FormatError:
        pass
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        local = datetime.fromisoformat(text).astimezone()
        return (local - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is no time", remedy="such as 10m, 2026-01-02T15:04:05Z, or seconds since 1970"
        ) from None
