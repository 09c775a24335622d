"""What goes between the engine and its unpacking child: one request in, one report out, as JSON."""

from __future__ import annotations

import msgspec

from vordr.images.decompress import Compression
from vordr.images.limits import Limits


class Request(msgspec.Struct, frozen=True):
    """How the blob is packed, its bytes, and the bounds."""

    compression: Compression
    blob_size: int
    limits: Limits


class Success(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="done"):
    """The diffID found, entries made, bytes of the tar, and the opaque folders as hex of their paths."""

    diff_id: str
    entries: int
    bytes: int
    opaque: list[str]


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="failed"):
    """What went wrong: ``invalid``, ``limit``, ``full`` or ``system``, and in words."""

    error: str
    message: str


Report = Success | Failure
