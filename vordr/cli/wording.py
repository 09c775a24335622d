"""Times, sizes and states in docker's words (its units package). Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from vordr.formats.errors import FormatError
from vordr.formats.times import format_rfc3339, parse_rfc3339
from vordr.model.errors import UsageError
from vordr.model.lifecycle import State
from vordr.model.state import ContainerState

_SECOND: Final = 1_000_000
_MINUTE: Final = 60
_HOUR: Final = 3600


def duration(us: int) -> str:
    """``us`` microseconds roughly: "5 minutes", "About an hour", "3 weeks"."""
    seconds = max(0, us) // _SECOND
    minutes, hours = seconds // _MINUTE, (seconds + _HOUR // 2) // _HOUR
    days = hours // 24
    for bound, below, text in (
        (seconds, 1, "Less than a second"),
        (seconds, 2, "1 second"),
        (seconds, 60, f"{seconds} seconds"),
        (minutes, 2, "About a minute"),
        (minutes, 60, f"{minutes} minutes"),
        (hours, 2, "About an hour"),
        (hours, 48, f"{hours} hours"),
        (days, 14, f"{days} days"),
        (days, 60, f"{days // 7} weeks"),
        (days, 730, f"{days // 30} months"),
    ):
        if bound < below:
            return text
    return f"{days // 365} years"


def ago(us: int, now_us: int) -> str:
    return f"{duration(now_us - us)} ago"


def size(count: int) -> str:
    """Bytes in decimal units and three digits, as in docker's image list: "4.26MB"."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g}{unit}"


def status(container: ContainerState, now_us: int) -> str:
    """docker's STATUS column: "Up 5 minutes", "Exited (0) 2 minutes ago", "Created"."""
    up = f"Up {duration(now_us - (container.started or now_us))}"
    match container.state:
        case State.RUNNING:
            text = up
        case State.PAUSED:
            text = f"{up} (Paused)"
        case State.STOPPED:
            code = "unknown" if container.exit_code is None else container.exit_code
            text = f"Exited ({code}) {ago(container.finished or now_us, now_us)}"
        case State.CREATED:
            text = "Created"
        case other:
            text = str(other).capitalize()
    return f"{text} (Parked)" if container.parked else text


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


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """``text`` with control and direction characters spelt out: images and registries choose much of what we
    print, and must not move a terminal's cursor."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def command_text(words: tuple[str, ...]) -> str:
    """A command as docker shows it: its words joined by spaces."""
    return " ".join(words)


def shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
