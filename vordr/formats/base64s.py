"""Base 64 (RFC 4648 §4) with exactly one spelling per byte string."""

from __future__ import annotations

import base64
import binascii

from vordr.formats.errors import FormatError


def encode(data: bytes) -> str:
    """Standard alphabet, padded."""
    return base64.b64encode(data).decode("ascii")


def decode(text: str, where: str) -> bytes:
    """The bytes of ``text``; ``where`` goes into the error.

    :raises FormatError: another alphabet, white space, missing or excess padding, or unused bits that are
        not zero: two texts for the same bytes would be two identities of one signature.
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise FormatError(where, f"not base64: {error}")
    if encode(data) != text:
        raise FormatError(where, "not canonical base64")
    return data
