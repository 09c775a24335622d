"""The log entry that cosign keeps with a keyed signature: signed by Rekor, and about this very signature.

The entry's promise (signed entry timestamp) covers ``{body, integratedTime, logID, logIndex}`` in canonical
JSON, and says nothing of what it was found beside. So the body must name the same hash, the same signature
and the same key as the evidence (CVE-2022-36056, CVE-2026-22703). Bodies read: hashedrekord 0.0.1, dsse
0.0.1. Not checked here: an inclusion proof (cosign keeps none in this form), and that the log is consistent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from vordr.formats import base64s, canonical
from vordr.formats.digests import sha256_hex
from vordr.formats.errors import FormatError
from vordr.gatekeeper.pinned_keys import PinnedKey

_LARGEST_ENTRY: Final = 1 << 20


def integrated_at(
    entry: bytes | None, signed: bytes, signature: bytes, key: PinnedKey, logs: Sequence[PinnedKey],
    payload: bytes | None = None,
) -> int:
    """When one of ``logs`` took in the entry about ``signature`` of ``key`` over ``signed``, in µs.

    ``payload`` is the DSSE payload, of which a dsse entry names the hash. Raises FormatError: there is no
    entry, none of the logs promised it, or it is about something else.
    """
    if entry is None:
        raise FormatError("log entry", "none came with the signature")
    told: Any = canonical.loads(entry, max_bytes=_LARGEST_ENTRY, where="log entry")
    match told:
        case {"SignedEntryTimestamp": str(promise),
              "Payload": {"body": str(body), "integratedTime": int(time), "logIndex": int(),
                          "logID": str(log_id)}}:
            pass
        case _:
            raise FormatError("log entry", "not a signed entry timestamp with its payload")
    log = next((log for log in logs if sha256_hex(log.spki) == log_id), None)
    if log is None:
        raise FormatError("log entry", f"of the log {log_id[:20]}…, whose key is not pinned")
    if set(told["Payload"]) != {"body", "integratedTime", "logIndex", "logID"}:
        raise FormatError("log entry", "its payload has other members than those that are signed")
    if not log.verify(base64s.decode(promise, "log entry"), canonical.dumps(told["Payload"])):
        raise FormatError("log entry", "the log's promise does not hold")
    _check_body(base64s.decode(body, "log entry body"), signed, signature, key, payload)
    if time <= 0:
        raise FormatError("log entry", "has no time")
    return time * 1_000_000


def _check_body(
    raw: bytes, signed: bytes, signature: bytes, key: PinnedKey, payload: bytes | None
) -> None:
    body: Any = canonical.loads(raw, max_bytes=_LARGEST_ENTRY, where="log entry body")
    match body:
        case {"kind": "hashedrekord", "apiVersion": "0.0.1",
              "spec": {"data": {"hash": {"algorithm": "sha256", "value": str(named)}},
                       "signature": {"content": str(content), "publicKey": {"content": str(pem)}}}}:
            wanted = sha256_hex(signed)
        case {"kind": "dsse", "apiVersion": "0.0.1",
              "spec": {"payloadHash": {"algorithm": "sha256", "value": str(named)},
                       "signatures": [{"signature": str(content), "verifier": str(pem)}]}}:
            if payload is None:
                raise FormatError("log entry", "is about an attestation, not about a signature")
            wanted = sha256_hex(payload)
        case _:
            raise FormatError("log entry", "of a kind that nothing here reads")
    if named != wanted:
        raise FormatError("log entry", "is about other bytes")
    if base64s.decode(content, "log entry signature") != signature:
        raise FormatError("log entry", "is about another signature")
    try:
        logged = PinnedKey.from_pem(base64s.decode(pem, "log entry key").decode("ascii"))
    except UnicodeDecodeError:
        raise FormatError("log entry", "its key is not PEM") from None
    if logged != key:
        raise FormatError("log entry", "is about a signature by another key")
