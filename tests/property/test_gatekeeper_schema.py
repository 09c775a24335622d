"""Our hand-written shapes against the published schemas: never more lenient, stricter only as documented."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import spec_document

from vordr.gatekeeper import schema
from vordr.gatekeeper.schema import validate_document

HASH, TIME = "sha256:" + "a" * 64, "2026-03-01T12:00:00Z"
KEY = "MCowBQYDK2VwAyEAGb9F2CMCwMPPBmrZJJNtFe0BzLXmVr3QBT7Q4joZt0Y="
PROOF = {"logIndex": 1, "rootHash": "b" * 64, "treeSize": 2, "hashes": [HASH]}
ENTRY = {"logId": "a", "logIndex": 1, "integratedTime": TIME, "inclusionProof": PROOF,
         "signedEntryTimestamp": "QUJD"}
LOG = {"operator": "o", "publicKey": KEY, "url": "https://example.org/", "algorithm": "ed25519"}

SEEDS: dict[str, Any] = {
    "attestation-bundle": {
        "mediaType": schema.MEDIA_TYPE, "version": "0.1.0",
        "attestations": [
            {"payloadType": "t", "payload": "QUJD", "signatures": [{"keyid": HASH, "sig": "QUJD"}]}
        ],
        "logEntries": [ENTRY, ENTRY], "metadata": {"producer": "p", "createdAt": TIME},
    },
    "trust-store": {
        "$schema": "https://example.org/s", "version": 1, "id": "s", "updated": TIME,
        "keys": {"builders": [{"id": HASH, "algorithm": "ed25519", "publicKey": KEY, "validFrom": TIME,
                               "validUntil": TIME, "metadata": {"owner": "o"}}]},
        "thresholds": {"g": {"k": 1, "n": 1, "algorithm": "frost-ed25519", "members": [HASH]}},
        "logs": {"a": LOG, "b": LOG, "c": LOG},
    },
    "log-entry": {
        "version": 1, "timestamp": TIME, "entryType": "attestation",
        "body": {"attestationDigest": HASH, "subjectDigest": HASH, "predicateType": "https://spdx.dev/Document"},
    },
    "signed-tree-head": {"treeSize": 0, "timestamp": TIME, "rootHash": HASH, "signature": "QUJD"},
}


def published(kind: str) -> dict[str, Any]:
    """The published schema of a document type; a part of transparency-log.schema for the last two."""
    whole = "attestation-bundle" if kind == "attestation-bundle" else (
        "trust-store" if kind == "trust-store" else "transparency-log")
    read: dict[str, Any] = spec_document(f"schema/{whole}.schema.json")
    part = {"log-entry": "logEntry", "signed-tree-head": "signedTreeHead"}.get(kind)
    return read if part is None else {"$defs": read["$defs"], "$ref": f"#/$defs/{part}"}


VALIDATORS = {kind: jsonschema.Draft202012Validator(published(kind)) for kind in SEEDS}
STRICTER = ("must be an RFC 3339 time", "must be a URI", "must be an integer")
"""What we refuse and a validator without format checks may let pass (1.0 counts as an integer there)."""

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.sampled_from([1.0, 0.5]), st.text(max_size=3),
    st.sampled_from(["", "a", HASH, HASH + "\n", HASH.upper(), "b" * 64, TIME, KEY, "QUJD", "0.1.0",
                     "0.1.0\n", "ed25519", "rsa", "revocation", "https://e.org", schema.MEDIA_TYPE]),
    st.sampled_from([[], {}, [1], {"a": 1}, [ENTRY], [ENTRY, ENTRY], {"a": LOG}, PROOF]),
)


def fresh(value: Any) -> Any:
    """A copy in which no two places share an object."""
    return json.loads(json.dumps(value))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        found += places(item, (*path, name))
    return found


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, Any]:
    """A sound document with up to three places replaced, removed, or added to."""
    kind = draw(st.sampled_from(sorted(SEEDS)))
    document = fresh(SEEDS[kind])
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(places(document) or [("version",)]))
        parent = document
        for name in path[:-1]:
            parent = parent[name]
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                parent[path[-1]] = fresh(draw(LEAVES))
            case "remove":
                del parent[path[-1]]
            case _ if isinstance(parent, dict):
                name = draw(st.sampled_from(["x", "metadata", "revokedAt", "validUntil"]))
                parent[name] = fresh(draw(LEAVES))
    return kind, document


@given(documents())
@settings(max_examples=600, deadline=None)
def test_shapes_agree_with_the_published_schemas(made: tuple[str, Any]) -> None:
    kind, document = made
    faults = validate_document(kind, document)
    theirs = VALIDATORS[kind].is_valid(document)
    if not faults:
        assert theirs, list(VALIDATORS[kind].iter_errors(document))
    elif theirs:
        newline = "\\n" in json.dumps(document)
        assert newline or all(wrong.startswith(STRICTER) for _, wrong in faults), faults


@pytest.mark.parametrize("kind", sorted(SEEDS))
def test_seed_is_valid_for_both(kind: str) -> None:
    assert validate_document(kind, SEEDS[kind]) == []
    VALIDATORS[kind].validate(SEEDS[kind])
