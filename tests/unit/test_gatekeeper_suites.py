"""Suites end to end: a key of each signs, is trusted and verified; halves of keys and signatures are not."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from gatekeeper_host import NOW, Host
from published import spec_document

from vordr.formats import mldsa
from vordr.formats.digests import sha256_digest
from vordr.formats.signature import PrivateKey, PublicKey, Suite
from vordr.gatekeeper import trust
from vordr.gatekeeper.attest import make_bundle
from vordr.gatekeeper.decide import decide
from vordr.gatekeeper.init import trust_init
from vordr.gatekeeper.keys import OPERATOR, KeyRing
from vordr.gatekeeper.policy import Policy
from vordr.gatekeeper.sbom import NOT_READ
from vordr.gatekeeper.statements import PACK_BUILD, Act
from vordr.gatekeeper.subject import Subject
from vordr.gatekeeper.translog import local_logs
from vordr.gatekeeper.trust import TrustedKey, TrustStore
from vordr.model.errors import KeyUnusable, TrustStoreInvalid, VerificationRejected
from vordr.model.paths import Paths
from vordr.model.verdict import Verdict
from vordr.runtime import doctor

SUBJECT = Subject(sha256_digest(b"m"), sha256_digest(b"c"), ())
HYBRID = Suite.ED25519_ML_DSA_87


def make(folder: Path, suite: Suite, passphrase: str | None = None) -> Host:
    paths = Paths(folder / "root", folder / "run")
    store = trust_init(paths, "Ada", NOW, passphrase, "box", suite)
    return Host(paths, store, KeyRing(paths).load(OPERATOR, passphrase), local_logs(paths, store))


def bundle_of(host: Host) -> bytes:
    act = Act(PACK_BUILD, "web", "a folder", host.operator.public.key_id, NOW)
    return make_bundle(SUBJECT, act, NOT_READ, signers=[host.operator], logs=host.logs)


def judge(host: Host, bundle: bytes) -> Verdict:
    return decide(SUBJECT, bundle, host.trust, Policy(), NOW, 1)


def refusal(host: Host, bundle: bytes) -> VerificationRejected:
    with pytest.raises(VerificationRejected) as caught:
        judge(host, bundle)
    return caught.value


def with_signatures(
    bundle: bytes, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]
) -> bytes:
    document = json.loads(bundle)
    for envelope in document["attestations"]:
        envelope["signatures"] = change(envelope["signatures"])
    return json.dumps(document).encode()


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
@pytest.mark.parametrize("suite", list(Suite))
def test_an_operator_of_any_suite_is_made_signs_and_is_believed(
    tmp_path: Path, suite: Suite, passphrase: str | None
) -> None:
    host = make(tmp_path, suite, passphrase)
    assert host.operator.suite is suite
    verdict = judge(host, bundle_of(host))
    assert verdict.keys == (host.operator.public.key_id,)


@pytest.mark.parametrize("suite", list(Suite))
def test_a_trust_store_keeps_keys_of_every_suite(tmp_path: Path, suite: Suite) -> None:
    host = make(tmp_path, suite)
    document = host.trust.to_document()
    assert trust.parse(json.dumps(document).encode()) == host.trust
    published = spec_document("schema/trust-store.schema.json")
    valid = jsonschema.Draft202012Validator(published).is_valid(document)
    assert valid is (suite is Suite.ED25519)


def test_a_key_named_after_another_suite_is_refused(tmp_path: Path) -> None:
    document = make(tmp_path, Suite.ED448).trust.to_document()
    for name in ("ed25519", "ed25519+ml-dsa-87", "rsa"):
        for entries in document["keys"].values():
            entries[0]["algorithm"] = name
        with pytest.raises(TrustStoreInvalid):
            trust.parse(json.dumps(document).encode())


# -- hybrid halves ---------------------------------------------------------------------------------


def half_of(hybrid: PublicKey) -> PublicKey:
    return PublicKey(Suite.ED25519, hybrid.parts[0])


def test_the_ed25519_half_of_a_hybrid_signature_alone_does_not_hold(tmp_path: Path) -> None:
    host = make(tmp_path, HYBRID)
    def cut(signatures: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**one, "sig": b64encode(b64decode(one["sig"])[:64]).decode()} for one in signatures]

    assert refusal(host, with_signatures(bundle_of(host), cut)).code == "INVALID_SIGNATURE"

    def renamed(signatures: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**one, "keyid": half_of(host.operator.public).key_id} for one in cut(signatures)]

    assert refusal(host, with_signatures(bundle_of(host), renamed)).code == "UNKNOWN_KEY"


@pytest.mark.parametrize("part", [0, 1])
def test_a_hybrid_signature_with_either_half_spoilt_is_refused(tmp_path: Path, part: int) -> None:
    host = make(tmp_path, HYBRID)

    def spoil(signatures: list[dict[str, str]]) -> list[dict[str, str]]:
        sig = bytearray(b64decode(signatures[0]["sig"]))
        sig[part * 1000] ^= 1
        return [{**signatures[0], "sig": b64encode(sig).decode()}]

    assert refusal(host, with_signatures(bundle_of(host), spoil)).code == "INVALID_SIGNATURE"


def with_key(store: TrustStore, public: PublicKey) -> TrustStore:
    return replace(store, keys=(*store.keys, TrustedKey(public, (trust.BUILDERS,), NOW)))


def test_half_of_a_hybrid_key_is_not_trusted_as_a_key_of_its_own(tmp_path: Path) -> None:
    host = make(tmp_path, HYBRID)
    with pytest.raises(TrustStoreInvalid, match="two places"):
        trust.checked(with_key(host.trust, half_of(host.operator.public)))


@pytest.mark.parametrize("shared_part", [0, 1])
def test_two_hybrid_keys_do_not_share_a_half(tmp_path: Path, shared_part: int) -> None:
    host = make(tmp_path, HYBRID)
    parts = list(PrivateKey.generate(HYBRID).public.parts)
    parts[shared_part] = host.operator.public.parts[shared_part]
    with pytest.raises(TrustStoreInvalid, match="two places"):
        trust.checked(with_key(host.trust, PublicKey(HYBRID, b"".join(parts))))


def test_a_logs_key_is_no_half_of_a_signers(tmp_path: Path) -> None:
    host = make(tmp_path, HYBRID)
    parts = (host.trust.logs[0].public.raw, PrivateKey.generate(HYBRID).public.parts[1])
    with pytest.raises(TrustStoreInvalid, match="two places"):
        trust.checked(with_key(host.trust, PublicKey(HYBRID, b"".join(parts))))


# -- without ML-DSA-87 -----------------------------------------------------------------------------


def test_without_ml_dsa_hybrid_signatures_are_refused_by_name_and_doctor_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, other = make(tmp_path / "a", HYBRID), make(tmp_path / "b", Suite.ED25519)
    bundle, plain = bundle_of(host), bundle_of(other)
    assert doctor._suites().status is doctor.Status.PASS
    monkeypatch.setattr(mldsa, "available", lambda: False)
    refused = refusal(host, bundle)
    assert (refused.code, refused.step) == ("INVALID_SIGNATURE", 5)
    assert "CT-SIG-02" in refused.message and "cannot verify" in refused.message
    assert judge(other, plain).origin == "published"
    told = doctor._suites()
    assert told.status is doctor.Status.WARN and "CT-SIG-02 is refused" in told.message and told.fix
    with pytest.raises(KeyUnusable, match="ML-DSA-87"):
        make(tmp_path / "c", HYBRID)
    assert not (tmp_path / "c/root/trust/trust-store.json").exists()


def test_a_cryptography_library_without_the_module_still_does_the_other_suites() -> None:
    script = (
        "import sys; sys.modules['cryptography.hazmat.primitives.asymmetric.mldsa'] = None\n"
        "from vordr.formats.signature import PrivateKey, PublicKey, Suite\n"
        "key = PrivateKey.generate(Suite.ED448)\n"
        "assert key.public.verify(key.sign(b'm'), b'm')\n"
        "assert [suite.value for suite in Suite if suite.available] == ['CT-SIG-01', 'CT-SIG-04']\n"
        "half = PrivateKey.generate(Suite.ED25519).public.raw\n"
        "hybrid = PublicKey(Suite.ED25519_ML_DSA_87, half + bytes(2592))\n"
        "assert not hybrid.verify(bytes(4691), b'm')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
