"""SHA-256 digests as OCI writes them: ``sha256:`` and 64 lowercase hexadecimal digits (OCI image-spec,
descriptor, §digests)."""

from __future__ import annotations

import hashlib
import re

from vordr.formats.errors import FormatError

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


def sha256_hex(data: bytes) -> str:
    """64 lowercase hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_digest(data: bytes) -> str:
    """``sha256:<hex>`` of ``data``."""
    return "sha256:" + sha256_hex(data)


def parse_digest(text: str, where: str = "digest") -> str:
    """The 64 hexadecimal digits of ``sha256:<hex>``.

    :raises FormatError: any other algorithm, length, case, or surrounding characters.
    """
    match = _DIGEST.fullmatch(text)
    if match is None:
        raise FormatError(where, f"not sha256:<64 lowercase hex digits>: {text[:100]!r}")
    return match.group(1)
