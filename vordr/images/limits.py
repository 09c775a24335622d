"""Bounds on what a layer may ask of the machine that unpacks it."""

from __future__ import annotations

from typing import Final

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """``stream_bytes`` of the unpacked tar, ``entries`` in it, and how often it may be longer than its blob.

    The ratio is looked at only beyond ``ratio_from`` bytes, since small layers of zeros are common and
    harmless.
    """

    stream_bytes: int = 64 << 30
    entries: int = 1_000_000
    ratio: int = 500
    ratio_from: int = 256 << 20
    memory: int = 2 << 30


DEFAULT_LIMITS: Final = Limits()
