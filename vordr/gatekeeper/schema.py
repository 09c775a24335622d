"""verified-container-spec's JSON schemas (attestation-bundle, trust-store, transparency-log) as data.

:func:`validate_document` answers what ``vordr spec validate`` asks: does a document have the published
shape? It is never more lenient than the schema and in three points stricter: a pattern must match the whole
string (a trailing newline does not pass), ``format`` is checked and not a mere annotation, and 1.0 is not an
integer. The rules beyond shape are in :mod:`~vordr.gatekeeper.bundle` and :mod:`~vordr.gatekeeper.trust`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from vordr.formats.errors import FormatError
from vordr.formats.times import parse_rfc3339

Fault = tuple[str, str]
"""(JSON path such as ``$.logEntries[1].logIndex``, what is wrong there)."""


class Shape(Protocol):
    def faults(self, value: Any, path: str) -> Iterator[Fault]: ...


@dataclass(frozen=True)
class Text:
    pattern: str = ""
    shortest: int = 0
    one_of: tuple[str, ...] = ()
    form: Callable[[str], str | None] | None = None

    def faults(self, value: Any, path: str) -> Iterator[Fault]:
        if not isinstance(value, str):
            yield path, "must be a string"
        elif self.one_of and value not in self.one_of:
            yield path, f"must be {' or '.join(map(repr, self.one_of))}"
        elif len(value) < self.shortest:
            yield path, "must not be empty"
        elif self.pattern and not re.fullmatch(self.pattern, value):
            yield path, f"must match {self.pattern}"
        elif self.form and (wrong := self.form(value)):
            yield path, wrong


@dataclass(frozen=True)
class Whole:
    smallest: int = 0

    def faults(self, value: Any, path: str) -> Iterator[Fault]:
        if not isinstance(value, int) or isinstance(value, bool):
            yield path, "must be an integer"
        elif value < self.smallest:
            yield path, f"must be at least {self.smallest}"


@dataclass(frozen=True)
class Many:
    item: Shape
    fewest: int = 0

    def faults(self, value: Any, path: str) -> Iterator[Fault]:
        if not isinstance(value, list):
            yield path, "must be an array"
            return
        if len(value) < self.fewest:
            yield path, f"must have at least {self.fewest} item{'s' if self.fewest > 1 else ''}"
        for number, item in enumerate(value):
            yield from self.item.faults(item, f"{path}[{number}]")


@dataclass(frozen=True)
class Table:
    """An object with names of the document's own choosing."""

    item: Shape
    fewest: int = 0

    def faults(self, value: Any, path: str) -> Iterator[Fault]:
        if not isinstance(value, dict):
            yield path, "must be an object"
            return
        if len(value) < self.fewest:
            yield path, f"must have at least {self.fewest} members"
        for name, item in value.items():
            yield from self.item.faults(item, f"{path}.{name}")


@dataclass(frozen=True)
class Members:
    """An object with known members. Members that no schema names pass, as in JSON Schema."""

    needed: Mapping[str, Shape]
    optional: Mapping[str, Shape] = field(default_factory=dict)

    def faults(self, value: Any, path: str) -> Iterator[Fault]:
        if not isinstance(value, dict):
            yield path, "must be an object"
            return
        for name in self.needed:
            if name not in value:
                yield f"{path}.{name}", "is required"
        for name, shape in {**self.needed, **self.optional}.items():
            if name in value:
                yield from shape.faults(value[name], f"{path}.{name}")

    def unknown(self, value: Mapping[str, Any]) -> list[str]:
        """The members of ``value`` that this shape does not name."""
        return sorted(set(value) - set(self.needed) - set(self.optional))


def _date_time(value: str) -> str | None:
    try:
        parse_rfc3339(value)
    except FormatError as wrong:
        return f"must be an RFC 3339 time ({wrong})"
    return None


def _uri(value: str) -> str | None:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", value):
        return None
    return "must be a URI"


MEDIA_TYPE: Final = "application/vnd.verified-container.bundle+json"

_TEXT = Text()
TIME = Text(form=_date_time)
_URI = Text(form=_uri)
_BASE64 = Text(r"[A-Za-z0-9+/=]+")
_KEY_ID = Text(r"sha256:[a-f0-9]{64}|[a-zA-Z0-9_-]+")
_DIGEST = Text(r"sha256:[a-f0-9]{64}")
_HASH = Text(r"(sha256:)?[a-f0-9]{64}")

PROOF: Final = Members(
    {"logIndex": Whole(), "rootHash": _HASH, "treeSize": Whole(1), "hashes": Many(_HASH)}
)
LOG_ENTRY: Final = Members(
    {
        "logId": Text(shortest=1),
        "logIndex": Whole(),
        "integratedTime": TIME,
        "inclusionProof": PROOF,
        "signedEntryTimestamp": _BASE64,
    }
)
SIGNATURE: Final = Members({"keyid": _KEY_ID, "sig": _BASE64})
ENVELOPE: Final = Members({"payloadType": _TEXT, "payload": _BASE64, "signatures": Many(SIGNATURE, 1)})
BUNDLE: Final = Members(
    {
        "mediaType": Text(one_of=(MEDIA_TYPE,)),
        "version": Text(r"[0-9]+\.[0-9]+\.[0-9]+"),
        "attestations": Many(ENVELOPE, 1),
        "logEntries": Many(LOG_ENTRY, 2),
    },
    {"metadata": Members({}, {"producer": _TEXT, "producerVersion": _TEXT, "createdAt": TIME})},
)

KEY_METADATA: Final = Members({}, {"owner": _TEXT, "description": _TEXT})
ALGORITHMS: Final = ("ed25519", "ed25519+ml-dsa-87", "ed448")
"""Of keys in our trust stores. The published schema knows the first alone; the others have names of their
own, so that whoever knows only Ed25519 refuses such a key instead of reading the half of it."""


def _key(algorithms: tuple[str, ...]) -> Members:
    return Members(
        {"id": _KEY_ID, "algorithm": Text(one_of=algorithms), "publicKey": _BASE64, "validFrom": TIME},
        {"validUntil": TIME, "metadata": KEY_METADATA},
    )


KEY: Final = _key(ALGORITHMS[:1])
GROUP: Final = Members(
    {"k": Whole(1), "n": Whole(1), "algorithm": Text(one_of=("frost-ed25519",)), "members": Many(_TEXT, 1)}
)
LOG: Final = Members(
    {"operator": _TEXT, "publicKey": _BASE64, "url": _URI, "algorithm": Text(one_of=("ed25519",))}
)


def _trust_store(key: Members) -> Members:
    return Members(
        {
            "version": Whole(1),
            "id": Text(shortest=1),
            "updated": TIME,
            "keys": Table(Many(key)),
            "thresholds": Table(GROUP),
            "logs": Table(LOG, 3),
        },
        {"$schema": _URI},
    )


TRUST_STORE: Final = _trust_store(KEY)
TRUST_STORE_OF_ALL_SUITES: Final = _trust_store(_key(ALGORITHMS))
"""What our trust stores may be: as published, and keys of all :data:`ALGORITHMS`."""

REASONS: Final = (
    "key_compromise", "superseded", "affiliation_changed", "cessation", "privilege_withdrawn", "unspecified",
)
ATTESTATION_BODY: Final = Members(
    {"attestationDigest": _DIGEST, "subjectDigest": _DIGEST, "predicateType": _URI}
)
_REVOCATION_BODY = Members(
    {"revokedDigest": _DIGEST, "reason": Text(one_of=REASONS), "revokedBy": _KEY_ID}, {"revokedAt": TIME}
)


@dataclass(frozen=True)
class _OneOf:
    """Exactly one of two shapes; the faults reported are those of the nearer one."""

    first: Shape
    second: Shape

    def faults(self, value: Any, path: str) -> Iterator[Fault]:
        first, second = list(self.first.faults(value, path)), list(self.second.faults(value, path))
        if first and second:
            yield from min(first, second, key=len)
        elif not first and not second:
            yield path, "has the members of two kinds of body"


LEAF: Final = Members(
    {
        "version": Whole(1),
        "timestamp": TIME,
        "entryType": Text(one_of=("attestation", "revocation")),
        "body": _OneOf(ATTESTATION_BODY, _REVOCATION_BODY),
    }
)
TREE_HEAD: Final = Members(
    {"treeSize": Whole(), "timestamp": TIME, "rootHash": _HASH, "signature": _BASE64}
)

SUBMIT_REQUEST: Final = Members({"attestation": _BASE64})
"""Of a log's API, with the answers to it."""
SUBMIT_RESPONSE: Final = Members(
    {"logIndex": Whole(), "integratedTime": TIME, "inclusionProof": PROOF, "signedEntryTimestamp": _BASE64}
)
CONSISTENCY: Final = Members({"first": Whole(), "second": Whole(), "hashes": Many(_HASH)})
"""Ours: the published schema has no answer for consistency."""

DOCUMENTS: Final[Mapping[str, Members]] = {
    "attestation-bundle": BUNDLE,
    "trust-store": TRUST_STORE,
    "log-entry": LEAF,
    "signed-tree-head": TREE_HEAD,
}
"""Shape of each document type of the spec's ``validate`` command."""


def validate_document(kind: str, document: Any) -> list[Fault]:
    """The faults of a parsed JSON document of a type in :data:`DOCUMENTS`; an empty list is a valid one."""
    return list(DOCUMENTS[kind].faults(document, "$"))
