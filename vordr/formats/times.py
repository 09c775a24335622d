"""RFC 3339 timestamps and integer microseconds since 1970-01-01T00:00:00Z. No clock is read here."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from vordr.formats.errors import FormatError

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def parse_rfc3339(text: str) -> int:
    """Microseconds since the epoch; digits beyond the sixth of the second's fraction are cut off.

    Stricter than RFC 3339 §5.6: ``T`` and ``Z`` in upper case only, at most nine digits of fraction, no
    leap second (a 61st second has no place on our scale).

    :raises FormatError: another form, a date or time that does not exist, or a year outside 1-9999 in UTC.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise FormatError("time", f"not RFC 3339: {text[:60]!r}")
    year, month, day, hour, minute, second = (int(group) for group in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise FormatError("time", f"{text!r}: {error}")
    us = (local - _EPOCH) // _MICROSECOND + int((fraction or "").ljust(9, "0")[:6])
    if sign is not None:
        hours, minutes = int(offset_hours), int(offset_minutes)
        if hours > 23 or minutes > 59:
            raise FormatError("time", f"{text!r}: offset out of range")
        offset = (hours * 60 + minutes) * 60_000_000
        us += -offset if sign == "+" else offset
    if not _FIRST <= us <= _LAST:
        raise FormatError("time", f"{text!r}: outside the years 1-9999")
    return us


def format_rfc3339(us: int) -> str:
    """``YYYY-MM-DDTHH:MM:SS.ffffffZ``: always UTC, always six digits, so that texts sort as times do.

    :raises FormatError: a year outside 1-9999.
    """
    if not _FIRST <= us <= _LAST:
        raise FormatError("time", f"{us} µs is outside the years 1-9999")
    moment = _EPOCH + timedelta(microseconds=us)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
