"""Bundles against the published vectors, and who may make a verdict."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from gatekeeper_host import make_host
from published import spec_document

import vordr
from vordr.formats.digests import sha256_digest
from vordr.gatekeeper import bundle, schema
from vordr.gatekeeper.decide import decide
from vordr.gatekeeper.policy import Policy
from vordr.gatekeeper.subject import Subject
from vordr.model.errors import VerificationRejected

IMAGE = Subject(sha256_digest(b"m"), sha256_digest(b"c"), ())


@pytest.mark.parametrize("name", ["missing-log-entries", "wrong-media-type"])
def test_published_invalid_bundle_is_refused_with_its_code(name: str, tmp_path: Path) -> None:
    value = spec_document(f"vectors/invalid/attestation-bundle/{name}.json")
    assert schema.validate_document("attestation-bundle", value["input"]) != []
    with pytest.raises(VerificationRejected) as refusal:
        decide(IMAGE, json.dumps(value["input"]).encode(), make_host(tmp_path).trust, Policy(), 0, 1)
    assert refusal.value.code == value["expected"]["errorCode"]


def test_published_minimal_bundle_is_refused_for_hashes_that_are_not_hexadecimal() -> None:
    """Deviation: the vector is called valid, but breaks the published schema's own pattern."""
    value = spec_document("vectors/valid/attestation-bundle/minimal-valid-bundle.json")["input"]
    assert [path for path, _ in schema.validate_document("attestation-bundle", value)] == [
        "$.logEntries[0].inclusionProof.hashes[0]",
        "$.logEntries[1].inclusionProof.rootHash",
        "$.logEntries[1].inclusionProof.hashes[0]",
    ]


def test_published_single_log_bundle_is_refused_for_its_one_log() -> None:
    """Deviation: the MVP profile's quorum of one is below the spec's two."""
    value = spec_document("vectors/valid/attestation-bundle/mvp-single-log-bundle.json")["input"]
    with pytest.raises(VerificationRejected) as refusal:
        bundle.parse(json.dumps(value).encode())
    assert refusal.value.code == "MALFORMED_BUNDLE"  # its one proof is not hexadecimal, which comes first
    value["logEntries"][0]["inclusionProof"]["hashes"] = []
    with pytest.raises(VerificationRejected) as refusal:
        bundle.parse(json.dumps(value).encode())
    assert refusal.value.code == "INSUFFICIENT_LOG_COVERAGE"


def test_only_decide_issues_verdicts() -> None:
    package = Path(str(vordr.__file__)).parent
    makers = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "value", None)
            if name == "_issue":
                makers.add(str(path.relative_to(package)))
    assert makers == {"gatekeeper/decide.py"}


def test_deciding_imports_no_io() -> None:
    """decide.py and what it decides by are pure: no clock, file, process, network or thread."""
    folder = Path(str(vordr.__file__)).parent / "gatekeeper"
    for name in ("decide", "steps", "bundle", "logproof", "schema", "subject"):
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        imported = {alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import)
                    for alias in node.names}
        imported |= {str(node.module).partition(".")[0] for node in ast.walk(tree)
                     if isinstance(node, ast.ImportFrom)}
        effects = {"os", "time", "datetime", "socket", "subprocess", "threading", "pathlib", "random"}
        assert not imported & effects
