"""Dead Simple Signing Envelope, protocol and envelope version 1 (secure-systems-lab/dsse).

Stricter than its protocol: base64 in the standard alphabet and canonical only, a key id for each signature,
at least one and at most 256 signatures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from vordr.formats import base64s
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey

MAX_SIGNATURES = 256

_KEY_ID = re.compile(r"sha256:[a-f0-9]{64}|[a-zA-Z0-9_-]{1,256}")


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding, the bytes that are signed:
    ``"DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload``; LEN counts bytes, in ASCII decimal.

    :raises FormatError: a type with a lone surrogate.
    """
    try:
        kind = payload_type.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("dsse.payloadType", "holds a lone surrogate")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Signature:
    """``keyid`` is a hint and unauthenticated; ``sig`` are the signature's bytes over the PAE."""

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, its media type, and signatures over both. Nothing in it is verified."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def pae(self) -> bytes:
        """The bytes that each signature signs."""
        return pae(self.payload_type, self.payload)

    def signed_by(self, key: PrivateKey) -> Envelope:
        """This envelope with a signature by ``key``, all of them in the order of their key ids; the same one
        where that key has signed already. What the others are worth is not looked at.

        :raises FormatError: there is a signature under that key's id which does not hold.
        """
        public, signed = key.public, self.pae()
        for one in self.signatures:
            if one.keyid == public.key_id:
                if not public.verify(one.sig, signed):
                    raise FormatError("dsse.signatures", f"the one named {one.keyid} does not hold")
                return self
        both = (*self.signatures, Signature(public.key_id, key.sign(signed)))
        return replace(self, signatures=tuple(sorted(both, key=lambda one: one.keyid)))

    def to_json(self) -> dict[str, Any]:
        """The envelope as a JSON object; :func:`parse` of it is equal to this one."""
        return {
            "payloadType": self.payload_type,
            "payload": base64s.encode(self.payload),
            "signatures": [{"keyid": s.keyid, "sig": base64s.encode(s.sig)} for s in self.signatures],
        }


def parse(obj: object, where: str = "dsse") -> Envelope:
    """The envelope in a JSON value, read by :func:`vordr.formats.canonical.loads`. Members that DSSE does not
    know are ignored, as it demands; no signature covers them.

    :raises FormatError: a member missing or of another type, an empty type, payload or signature, base64 that
        is not canonical, a key id that is neither sha256:<hex> nor a word, no signatures or more than 256.
    """
    if not isinstance(obj, dict):
        raise FormatError(where, "not an object")
    payload_type = _text(obj, "payloadType", where)
    payload = base64s.decode(_text(obj, "payload", where), f"{where}.payload")
    entries = obj.get("signatures")
    if not isinstance(entries, list):
        raise FormatError(f"{where}.signatures", "not an array")
    if not 1 <= len(entries) <= MAX_SIGNATURES:
        raise FormatError(f"{where}.signatures", f"{len(entries)} entries, 1 to {MAX_SIGNATURES} are allowed")
    signatures = tuple(
        _parse_signature(entry, f"{where}.signatures[{at}]") for at, entry in enumerate(entries)
    )
    return Envelope(payload_type, payload, signatures)


def _parse_signature(entry: object, where: str) -> Signature:
    if not isinstance(entry, dict):
        raise FormatError(where, "not an object")
    keyid = _text(entry, "keyid", where)
    if not _KEY_ID.fullmatch(keyid):
        raise FormatError(f"{where}.keyid", f"not a key id: {keyid[:100]!r}")
    return Signature(keyid, base64s.decode(_text(entry, "sig", where), f"{where}.sig"))


def _text(obj: dict[str, Any], member: str, where: str) -> str:
    value = obj.get(member)
    if not isinstance(value, str) or not value:
        raise FormatError(f"{where}.{member}", "missing, empty, or not a string")
    return value
