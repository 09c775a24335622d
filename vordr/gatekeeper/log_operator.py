"""What a log answers to the requests of the spec's API, whatever carries them: bytes in, JSON values out.

    POST /api/v1/entries                          submitRequest → submitResponse
    GET  /api/v1/proof?logIndex=N[&treeSize=M]    → inclusionProofResponse
    GET  /api/v1/sth                              → signedTreeHead
    GET  /api/v1/consistency?first=M&second=N     → {"first", "second", "hashes"}

Shapes: transparency-log.schema; it has none for consistency, and says nothing of the queries. What is
submitted must be a DSSE envelope of an in-toto statement about exactly one manifest. Whose signatures it
carries, and whether they hold, is not the log's business: it says when a statement was there.

The same statement gets the same entry, however often it is submitted and whoever signed it: who lost an
answer may ask again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from vordr.formats import base64s, canonical
from vordr.formats.errors import FormatError
from vordr.gatekeeper import bundle as bundles
from vordr.gatekeeper import schema
from vordr.gatekeeper.bundle import Attestation
from vordr.gatekeeper.translog import LocalLog
from vordr.model.errors import VerificationRejected

LARGEST_REQUEST: Final = 16 * 1024 * 1024
"""Bytes of a request's body: as much as a bundle may have."""
LONGEST_TYPE: Final = 4096
"""Characters of a predicate type."""
BASE: Final = "/api/v1"


class NotServed(Exception):
    """The request is refused: an HTTP status, and why in words."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class LogOperator:
    """One log behind the API. Any thread may ask. ``now_us`` tells the time, in µs."""

    def __init__(self, log: LocalLog, now_us: Callable[[], int]) -> None:
        self.log = log
        self._now_us = now_us
        self._lock = threading.Lock()
        self._places: dict[tuple[str, str, str], tuple[int, str]] = {}
        for index, entry in enumerate(log.entries()):
            document = canonical.loads(entry, where=f"entry {index}")
            self._note(document["body"], index, document["timestamp"])

    def get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """The answer to a GET. Raises NotServed; StateError: the log is damaged."""
        try:
            match path.removeprefix(BASE) if path.startswith(BASE) else "":
                case "/sth":
                    _only(query)
                    return self.log.head(self._now_us()).to_json()
                case "/proof":
                    _only(query, "logIndex", "treeSize")
                    size = _number(query, "treeSize") if "treeSize" in query else None
                    return self._proof(_number(query, "logIndex"), size)
                case "/consistency":
                    _only(query, "first", "second")
                    first, second = _number(query, "first"), _number(query, "second")
                    proof = self.log.consistency(first, second)
                    return {"first": first, "second": second, "hashes": ["sha256:" + h.hex() for h in proof]}
                case "/entries":
                    raise NotServed(405, "entries are submitted by POST")
        except FormatError as error:
            raise NotServed(404, str(error)) from error
        raise NotServed(404, f"there is nothing at {path[:200]!r}")

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        """The answer to a POST, once its entry is durable. Raises NotServed; StateError: it is not."""
        if path != f"{BASE}/entries":
            raise NotServed(405 if path.startswith(BASE) else 404, "only entries are submitted")
        one, subject = _submitted(body)
        with self._lock:
            known = self._places.get((one.digest, subject, one.predicate_type))
            if known is None:
                entry = self.log.append(
                    attestation=one.digest, subject=subject, predicate_type=one.predicate_type,
                    now_us=self._now_us())
                self._places[one.digest, subject, one.predicate_type] = entry.index, entry.time
            else:
                entry = self.log.prove(*known)
        told = entry.to_json()
        del told["logId"]
        return told

    def _proof(self, index: int, size: int | None) -> dict[str, Any]:
        # The time is no part of what is answered.
        told: dict[str, Any] = self.log.prove(index, "1970-01-01T00:00:00Z", size).to_json()["inclusionProof"]
        return told

    def _note(self, body: Mapping[str, str], index: int, time: str) -> None:
        place = body["attestationDigest"], body["subjectDigest"], body["predicateType"]
        self._places.setdefault(place, (index, time))


def _submitted(body: bytes) -> tuple[Attestation, str]:
    """The attestation of a submitRequest, and the manifest that it is about."""
    if len(body) > LARGEST_REQUEST:
        raise NotServed(413, f"more than {LARGEST_REQUEST} bytes")
    try:
        request = canonical.loads(body, max_bytes=LARGEST_REQUEST, where="request")
        for path, wrong in schema.SUBMIT_REQUEST.faults(request, "$"):
            raise NotServed(400, f"{path}: {wrong}")
        if unknown := schema.SUBMIT_REQUEST.unknown(request):
            raise NotServed(400, f"$.{unknown[0][:100]}: unknown member")
        raw = base64s.decode(request["attestation"], "$.attestation")
        envelope = canonical.loads(raw, max_bytes=LARGEST_REQUEST, where="attestation")
        one = bundles.parse_attestation(envelope, "attestation")
    except (FormatError, VerificationRejected) as error:
        raise NotServed(400, str(error)) from error
    digests = {canonical.dumps(dict(digest)) for digest in one.subjects}
    if len(digests) != 1 or set(one.subjects[0]) != {"sha256"}:
        raise NotServed(400, "attestation: must be about one manifest, by its sha256 alone")
    if len(one.predicate_type) > LONGEST_TYPE:
        raise NotServed(400, f"attestation: predicateType has more than {LONGEST_TYPE} characters")
    subject = f"sha256:{one.subjects[0]['sha256']}"
    entry = {"attestationDigest": one.digest, "subjectDigest": subject, "predicateType": one.predicate_type}
    for path, wrong in schema.ATTESTATION_BODY.faults(entry, "attestation"):
        raise NotServed(400, f"{path}: {wrong}")
    return one, subject


def _only(query: Mapping[str, str], *names: str) -> None:
    if unknown := set(query) - set(names):
        raise NotServed(400, f"unknown parameter {min(unknown)[:100]!r}")


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name)
    if text is None:
        raise NotServed(400, f"{name} is missing")
    if not (text.isascii() and text.isdecimal() and len(text) <= 16 and str(int(text)) == text):
        raise NotServed(400, f"{name} is not a number")
    return int(text)
