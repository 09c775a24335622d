"""cosign's evidence and the policy's scopes: what counts, and what was tried elsewhere and does not."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from evidence_world import (
    PREDICATE,
    SIGNATURE_PREDICATE,
    Sigstore,
    attestation,
    dsse_entry,
    envelope,
    hashedrekord,
    logged_signature,
    payload,
    pem,
    pinned,
    promised,
    sign_again,
    signature,
    spki,
    statement,
)
from gatekeeper_world import NOW, SUBJECT, World, key, raw

from vordr.formats.digests import sha256_digest, sha256_hex
from vordr.formats.errors import FormatError
from vordr.gatekeeper import cosign, evidence
from vordr.gatekeeper.decide import Mode, decide, explain, report
from vordr.gatekeeper.demands import Outcome
from vordr.gatekeeper.evidence import Beside, Kind, Piece
from vordr.gatekeeper.pinned_keys import PinnedKey
from vordr.gatekeeper.policy import Policy, parse
from vordr.model.errors import PolicyDenied, VerificationRejected
from vordr.model.verdict import Verdict

MANIFEST = SUBJECT.manifest
OTHER = sha256_digest(b"another manifest")
NAME = "registry.example.org/prod/web:v1"
KEYS = [pinned("cosign")]
LOGS = [pinned("rekor")]


# -- signatures ------------------------------------------------------------------------------------


def test_a_signature_of_the_manifest_is_its_signers() -> None:
    assert cosign.signer_of(signature(MANIFEST), MANIFEST, KEYS) == pinned("cosign")


SIGNATURES = {
    "of another image": (signature(OTHER), "about"),
    "by another key": (signature(MANIFEST, "evil"), "none of the pinned keys"),
    "of another type": (signature(MANIFEST, type="atomic container signature"), "of type"),
    "CVE-2026-39395 payload that is no JSON": (signature(MANIFEST, raw=b"not json"), "Expecting value"),
    "CVE-2026-39395 payload that is empty": (signature(MANIFEST, raw=b""), "Expecting value"),
    "CVE-2026-39395 payload that is no object": (signature(MANIFEST, raw=b'"x"'), "not a simple signing"),
    "payload with two digests": (
        signature(MANIFEST, raw=json.dumps(payload(OTHER)).replace(
            '"type"', f'"image": {{"docker-manifest-digest": "{MANIFEST}"}}, "type"').encode()),
        "duplicate key"),
    "no signature": (Piece(Kind.SIMPLE_SIGNING, json.dumps(payload(MANIFEST)).encode()), "not a signature"),
    "empty signature": (Piece(Kind.SIMPLE_SIGNING, json.dumps(payload(MANIFEST)).encode(), b""), "none of"),
    "an attestation": (attestation(MANIFEST), "not a signature"),
}


@pytest.mark.parametrize("case", SIGNATURES)
def test_a_signature_is_refused(case: str) -> None:
    piece, reason = SIGNATURES[case]
    with pytest.raises(FormatError, match=reason):
        cosign.signer_of(piece, MANIFEST, KEYS)


def test_only_signed_annotations_count() -> None:
    """A user-supplied "verified" annotation is nowhere read; what the payload signs is."""
    assert cosign.signer_of(signature(MANIFEST), MANIFEST, KEYS, annotations={"team": "blue"})
    with pytest.raises(FormatError, match="does not sign the annotation verified=true"):
        cosign.signer_of(signature(MANIFEST), MANIFEST, KEYS, annotations={"verified": "true"})


# -- attestations ----------------------------------------------------------------------------------


def test_an_attestation_is_its_attesters() -> None:
    keys, said = cosign.attester_of(attestation(MANIFEST), MANIFEST, PREDICATE, KEYS)
    assert (keys, said.predicate_type) == ((pinned("cosign"),), PREDICATE)


ATTESTATIONS = {
    "of another image": (attestation(OTHER), "none of its subjects"),
    "by another key": (attestation(MANIFEST, signers=["evil"]), "none of the pinned keys"),
    "CVE-2022-35929 of another predicate type": (
        attestation(MANIFEST, "https://spdx.dev/Document"), "predicate"),
    "CVE-2022-35930 of no predicate type": (attestation(MANIFEST, predicateType=None), "must be a string"),
    "CVE-2026-39395 payload that is no JSON": (attestation(MANIFEST, raw=b"not json"), "Expecting value"),
    "CVE-2026-39395 payload that is no statement": (attestation(MANIFEST, raw=b"{}"), "not an in-toto"),
    "of another payload type": (attestation(MANIFEST, kind="text/plain"), "of payload type"),
    "without signatures": (
        Piece(Kind.DSSE, json.dumps({**envelope(b"{}"), "signatures": []}).encode()), "with signatures"),
    "of many signatures": (
        Piece(Kind.DSSE, json.dumps({**envelope(b"{}"), "signatures": [{"sig": "AA=="}] * 17}).encode()),
        "more than 16 signatures"),
    "of many subjects": (attestation(MANIFEST, subject=[{"name": "x"}] * 257), "1 to 256 subjects"),
    "a signature": (signature(MANIFEST), "not an attestation"),
    "that is no envelope": (Piece(Kind.DSSE, b"[]"), "not a DSSE envelope"),
}


@pytest.mark.parametrize("case", ATTESTATIONS)
def test_an_attestation_is_refused(case: str) -> None:
    piece, reason = ATTESTATIONS[case]
    with pytest.raises(FormatError, match=reason):
        cosign.attester_of(piece, MANIFEST, PREDICATE, KEYS)


# -- log entries -----------------------------------------------------------------------------------


def test_a_logged_signature_holds() -> None:
    assert cosign.signer_of(logged_signature(MANIFEST), MANIFEST, KEYS, logs=LOGS) == pinned("cosign")


def test_a_logged_attestation_holds() -> None:
    made = json.loads(attestation(MANIFEST).content)
    piece = Piece(Kind.DSSE, json.dumps(made).encode(), None, promised(dsse_entry(made, pem("cosign"))))
    assert cosign.attester_of(piece, MANIFEST, PREDICATE, KEYS, logs=LOGS)[0] == (pinned("cosign"),)


def _entry(signed: bytes, sig: bytes, verifier: str, log: str = "rekor") -> bytes:
    return promised(hashedrekord(signed, sig, verifier), log)


BARE = signature(MANIFEST)
SIG = BARE.signature or b""


def _changed(**changes: Any) -> bytes:
    """A promised entry, changed after it was promised."""
    told = json.loads(_entry(BARE.content, SIG, pem("cosign")))
    return json.dumps({**told, "Payload": {**told["Payload"], **changes}}).encode()


ENTRIES = {
    "none": (None, "none came"),
    "CVE-2022-36056 of other bytes": (_entry(b"other", SIG, pem("cosign")), "about other bytes"),
    "CVE-2026-22703 of another signature": (
        _entry(BARE.content, sign_again("cosign", BARE.content), pem("cosign")), "about another signature"),
    "CVE-2026-22703 by another key": (_entry(BARE.content, SIG, pem("evil")), "by another key"),
    "of a log that is not pinned": (_entry(BARE.content, SIG, pem("cosign"), "evil-log"), "not pinned"),
    "promised by another log than it names": (
        _changed(logID=sha256_hex(spki("evil-log"))), "not pinned"),
    "time changed": (_changed(integratedTime=1), "promise does not hold"),
    "with more than is signed": (_changed(verified=True), "other members"),
    "of an unknown kind": (
        promised({"kind": "rfc3161", "apiVersion": "0.0.1", "spec": {}}), "nothing here reads"),
    "of an attestation": (
        promised(dsse_entry(json.loads(attestation(MANIFEST).content), pem("cosign"))),
        "about an attestation"),
    "not JSON": (b"x", "Expecting value"),
    "nothing in it": (b"{}", "not a signed entry"),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_a_log_entry_is_refused(case: str) -> None:
    entry, reason = ENTRIES[case]
    with pytest.raises(FormatError, match=reason):
        cosign.signer_of(replace(BARE, log=entry), MANIFEST, KEYS, logs=LOGS)


# -- pieces as files -------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [logged_signature(MANIFEST), attestation(MANIFEST)])
def test_a_piece_is_read_back_as_it_was_written(piece: Piece) -> None:
    assert evidence.parse(piece.to_bytes()) == piece


@pytest.mark.parametrize("text", ["[]", "{}", '{"kind":"x","content":"","signature":null,"log":null}',
                                  '{"kind":"dsse-envelope","content":1,"signature":null,"log":null}',
                                  '{"kind":"dsse-envelope","content":"","signature":1,"log":null}',
                                  '{"kind":"dsse-envelope","content":"","signature":null,"log":null,"x":1}'])
def test_other_files_are_no_pieces(text: str) -> None:
    with pytest.raises(FormatError):
        evidence.parse(text.encode())


@pytest.mark.parametrize(
    "bad", ["", "x", pem("a").replace("PUBLIC", "PRIVATE"), "-----BEGIN PUBLIC KEY-----\n"])
def test_what_is_no_public_key_is_not_pinned(bad: str) -> None:
    with pytest.raises(FormatError):
        PinnedKey.from_pem(bad)


# -- scopes: what may start ------------------------------------------------------------------------


def _toml(*keys: str) -> str:
    return json.dumps([pem(name) for name in keys])


def policy_of(
    demand: str, images: str = "registry.example.org/*", files: dict[str, bytes] | None = None
) -> Policy:
    text = f'[[scope]]\nname = "prod"\nimages = ["{images}"]\n{demand}'
    tomllib.loads(text)
    return parse(text, "policy.toml", (files or {}).__getitem__)


def cosign_policy(more: str = "", *keys: str) -> Policy:
    return policy_of(f"[[scope.cosign]]\nkeys = {_toml(*(keys or ('cosign',)))}\n{more}")


def judged(policy: Policy, pieces: Sequence[Piece] = (), names: Sequence[str] = (NAME,),
           world: World | None = None, lost: tuple[str, ...] = ()) -> Verdict:
    made = world or World()
    return decide(SUBJECT, raw(made.document()), made.trust(), policy, NOW, 1,
                  Beside(tuple(names), tuple(pieces), lost))


def denied(policy: Policy, pieces: Sequence[Piece] = (), names: Sequence[str] = (NAME,), **more: Any) -> str:
    with pytest.raises(PolicyDenied) as refused:
        judged(policy, pieces, names, **more)
    assert not isinstance(refused.value, VerificationRejected)
    return refused.value.message


def test_a_scope_without_its_evidence_starts_nothing() -> None:
    assert "0 of 1 pinned keys, 1 must" in denied(cosign_policy())
    assert "no evidence is kept" in denied(cosign_policy())


def test_a_scope_with_its_evidence_starts_and_the_verdict_says_by_what() -> None:
    piece = signature(MANIFEST)
    verdict = judged(cosign_policy(), [piece])
    assert any(pinned("cosign").key_id in step.keys and step.name == "policy" for step in verdict.evidence)
    assert piece.digest in verdict.evidence[-1].text


def test_evidence_alone_starts_nothing() -> None:
    """A scope adds demands: cosign's word does not stand for the bundle."""
    with pytest.raises(VerificationRejected) as refused:
        decide(SUBJECT, None, World().trust(), cosign_policy(), NOW, 1,
               Beside((NAME,), (signature(MANIFEST),)))
    assert refused.value.code == "MISSING_ATTESTATION"


def test_evidence_about_another_image_does_not_count() -> None:
    """CVE-2022-47633, GHSA-2r43-6962-xcw5: the tag's evidence is not the digest's."""
    assert "about" in denied(cosign_policy(), [signature(OTHER), attestation(OTHER)])


def test_an_image_outside_of_the_scope_is_not_asked_for_more() -> None:
    assert judged(cosign_policy(), names=["docker.io/library/web:latest"])


def test_an_image_without_a_name_falls_under_every_scope() -> None:
    assert "scope prod" in denied(cosign_policy(), names=[])


def test_one_of_several_names_is_enough_to_be_in_a_scope() -> None:
    assert "scope prod" in denied(cosign_policy(), names=["docker.io/library/web:latest", NAME])


def test_a_threshold_counts_keys_and_not_signatures() -> None:
    policy = cosign_policy("threshold = 2", "cosign", "second")
    twice = [signature(MANIFEST), signature(MANIFEST, identity={"docker-reference": "x"}),
             attestation(MANIFEST, SIGNATURE_PREDICATE)]
    assert len({piece.digest for piece in twice}) == 3
    assert "1 of 2 pinned keys" in denied(policy, twice)
    assert judged(policy, [signature(MANIFEST), signature(MANIFEST, "second")])


def test_junk_beside_good_evidence_does_not_keep_an_image_from_starting() -> None:
    junk = [Piece(Kind.DSSE, b"x"), Piece(Kind.SIGSTORE, b"{}"), signature(OTHER),
            signature(MANIFEST, "evil")]
    assert judged(cosign_policy(), [*junk, signature(MANIFEST)])


def test_lost_evidence_is_told_where_it_is_missed() -> None:
    assert "are damaged" in denied(cosign_policy(), lost=(signature(MANIFEST).digest,))


def test_an_attestation_is_not_a_signature_nor_the_other_way_round() -> None:
    wants = f'attests = "{PREDICATE}"'
    assert judged(cosign_policy(wants), [attestation(MANIFEST)])
    assert "not an attestation" in denied(cosign_policy(wants), [signature(MANIFEST)])
    assert "its predicate is" in denied(cosign_policy(), [attestation(MANIFEST)])


def test_logs_are_demanded_where_they_are_pinned() -> None:
    policy = cosign_policy(f"logs = {_toml('rekor')}")
    assert judged(policy, [logged_signature(MANIFEST)])
    assert "none came" in denied(policy, [signature(MANIFEST)])


def _sigstore_policy(root: bytes) -> Policy:
    return policy_of(
        "[[scope.sigstore]]\n"
        f'trusted_root = {{ file = "root.json", sha256 = "{sha256_hex(root)}" }}\n'
        'identity = "https://example.org/release.yml@refs/heads/main"\n'
        f'issuer = "https://issuer.example.org"\nattests = "{PREDICATE}"', files={"root.json": root})


def test_a_sigstore_bundle_lets_its_image_start_and_no_other() -> None:
    world = Sigstore()
    policy = _sigstore_policy(world.trusted_root())
    assert judged(policy, [world.attested(MANIFEST)])
    assert "there is none" in denied(policy, [signature(MANIFEST)])
    assert "none of its subjects" in denied(policy, [world.attested(OTHER)])
    assert "none holds" in denied(policy, [Sigstore("evil").attested(MANIFEST)])


def test_what_cannot_be_judged_at_a_start_is_refused() -> None:
    policy = policy_of(
        "[[scope.in_toto]]\n"
        f'layout = {{ file = "a", sha256 = "{sha256_hex(b"")}" }}\nkeys = {_toml("owner")}', files={"a": b""})
    assert "cannot be judged" in denied(policy)


def test_the_other_demands_of_a_scope_are_those_of_the_whole_policy_made_narrower() -> None:
    adopted = World(signers=["olga"], build_type="https://vordr.dev/adopt/v1")
    assert "adopted by" in denied(policy_of('require = "published"'), world=adopted)
    assert "logs of 3 operators" in denied(policy_of("distinct_log_operators = 4"))
    assert judged(policy_of("distinct_log_operators = 3"))
    alice = key("alice").public.key_id
    assert judged(policy_of(f'signers = ["{alice}"]'))
    assert "not among the signers" in denied(policy_of(f'signers = ["sha256:{"0" * 64}"]'))


def test_an_outdated_attestation_starts_nothing() -> None:
    """CVE-2024-23332; and the verdict ends when the age is reached. The time is the logs'."""
    day = 86_400_000_000
    old, young = World(), World()
    aged = decide(SUBJECT, raw(young.document(time=NOW - day + 5)), young.trust(),
                  policy_of("max_attestation_age_days = 1"), NOW, 1, Beside((NAME,)))
    assert aged.expires == NOW + 5
    with pytest.raises(PolicyDenied, match="at most 1 days ago"):
        decide(SUBJECT, raw(old.document(time=NOW - day)), old.trust(),
               policy_of("max_attestation_age_days = 1"), NOW, 1, Beside((NAME,)))


def test_all_demands_are_explained_where_a_start_would_end_at_the_first() -> None:
    policy = policy_of(
        f"distinct_log_operators = 4\n[[scope.cosign]]\nkeys = {_toml('cosign')}\n"
        f"[[scope.cosign]]\nkeys = {_toml('second')}")
    world = World()
    told, lines = explain(SUBJECT, raw(world.document()), world.trust(), policy, NOW,
                          Beside((NAME,), (signature(MANIFEST),)))
    assert (told.decision, told.code) == ("REJECT", "POLICY_DENIED")
    assert [(line.demand, line.outcome) for line in lines] == [
        ("distinct_log_operators", Outcome.FAILS), ("cosign[0]", Outcome.HOLDS), ("cosign[1]", Outcome.FAILS)]


def test_where_the_spec_refuses_no_demand_is_explained() -> None:
    told, lines = explain(SUBJECT, None, World().trust(), cosign_policy(), NOW, Beside((NAME,)))
    assert (told.code, lines) == ("MISSING_ATTESTATION", ())


@pytest.mark.parametrize("mode", [Mode.PERMISSIVE, Mode.AUDIT])
def test_other_modes_report_a_scope_that_does_not_hold(mode: Mode) -> None:
    world = World()
    told = report(SUBJECT, raw(world.document()), world.trust(), cosign_policy(), NOW, mode, Beside((NAME,)))
    assert (told.decision, told.code) == ("ALLOW", "POLICY_DENIED") and told.warnings


def test_a_statement_of_version_1_counts_too() -> None:
    made = json.dumps({**statement(MANIFEST), "_type": "https://in-toto.io/Statement/v1"}).encode()
    assert cosign.attester_of(attestation(MANIFEST, raw=made), MANIFEST, PREDICATE, KEYS)
