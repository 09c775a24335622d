"""Evidence beside the bundle: what cosign and sigstore attach to an image, kept by its digest.

A piece is one signature or attestation as it was found. It is written as canonical JSON, so that its digest
names all of it, and nothing in it is believed: annotations of a registry, file names and media types decide
at most which reader looks at the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from vordr.formats import base64s, canonical
from vordr.formats.digests import sha256_digest
from vordr.formats.errors import FormatError

MOST_PIECES: Final = 64
"""Of one image; more are not looked at, so that whoever may push cannot keep a host busy."""
LARGEST_PIECE: Final = 4 * 1024 * 1024
"""Bytes of one signature's payload or of one attestation."""
LARGEST_FILE: Final = 2 * LARGEST_PIECE
"""Bytes of a written piece: base64, and what stands around it."""
LARGEST_ALL: Final = 16 * 1024 * 1024
"""Bytes of all pieces of one image."""

_MEMBERS = {"kind", "content", "signature", "log"}


class Kind(StrEnum):
    SIMPLE_SIGNING = "cosign-signature"
    """``content`` is a simple signing payload, ``signature`` the signature over it."""
    DSSE = "dsse-envelope"
    """``content`` is a DSSE envelope as JSON."""
    SIGSTORE = "sigstore-bundle"
    """``content`` is a sigstore bundle as JSON."""


@dataclass(frozen=True)
class Piece:
    """``log`` is the entry of a Rekor log that came along, as cosign writes it (JSON); None: none came."""

    kind: Kind
    content: bytes
    signature: bytes | None = None
    log: bytes | None = None

    def to_bytes(self) -> bytes:
        """The piece as a file."""
        return canonical.fast_dumps({
            "kind": self.kind.value, "content": base64s.encode(self.content),
            "signature": _optional(self.signature), "log": _optional(self.log)})

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` of :meth:`to_bytes`."""
        return sha256_digest(self.to_bytes())


@dataclass(frozen=True)
class Beside:
    """What is known of an image apart from its bundle.

    ``names`` are all full references it has or had on this host; an image without any falls under every
    scope of the policy. ``pieces`` are its evidence; ``lost`` digests of evidence that the journal names and
    whose file is missing or holds other bytes.
    """

    names: tuple[str, ...] = ()
    pieces: tuple[Piece, ...] = ()
    lost: tuple[str, ...] = ()


NOTHING: Final = Beside()


def parse(raw: bytes) -> Piece:
    """The piece in a file. Raises FormatError."""
    value: Any = canonical.loads(raw, max_bytes=LARGEST_FILE, where="evidence")
    if not isinstance(value, dict) or set(value) != _MEMBERS:
        raise FormatError("evidence", f"not an object of {', '.join(sorted(_MEMBERS))}")
    try:
        kind = Kind(value["kind"])
    except ValueError:
        raise FormatError("evidence.kind", f"unknown: {str(value['kind'])[:60]!r}") from None
    if not isinstance(value["content"], str):
        raise FormatError("evidence.content", "not a string")
    return Piece(
        kind, base64s.decode(value["content"], "evidence.content"), _bytes(value, "signature"),
        _bytes(value, "log"))


def _optional(data: bytes | None) -> str | None:
    return None if data is None else base64s.encode(data)


def _bytes(value: dict[str, Any], member: str) -> bytes | None:
    match value[member]:
        case None:
            return None
        case str(text):
            return base64s.decode(text, f"evidence.{member}")
    raise FormatError(f"evidence.{member}", "neither a string nor null")
