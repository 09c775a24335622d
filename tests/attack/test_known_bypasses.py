"""What other verifiers were bypassed by, tried here: each test names its advisory, or its class where it has
none. Which class is tried where: advisories.md.
"""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import hmac
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from evidence_world import key as ecdsa_key
from evidence_world import pem
from gatekeeper_world import BEGIN, NOW, SUBJECT, World, digest_of, key, raw
from images_world import entry, image_blobs, sha256, tar_of, zstd
from test_packages import BLOBS, SOUND, apart, huge, info, sign_again, together

from vordr.engine.finding import full_name
from vordr.formats import base64s, canonical, dsse, reference
from vordr.formats.curves import ED25519_L, ED25519_P
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey, PublicKey, Suite
from vordr.formats.times import format_rfc3339
from vordr.gatekeeper import edge_policy, policy, trust
from vordr.gatekeeper.decide import decide
from vordr.gatekeeper.package import INDEX, LABEL, CtpReader
from vordr.gatekeeper.policy import Policy
from vordr.gatekeeper.subject import subject_of
from vordr.gatekeeper.trust import TrustedKey, TrustStore
from vordr.images.decompress import BlobInvalid, Compression, LimitExceeded, TarSource
from vordr.images.limits import Limits
from vordr.images.tarstream import TarInvalid, members
from vordr.model.errors import (
    ConfigInvalid,
    ConfigUnparsable,
    ImageUnreadable,
    TrustStoreInvalid,
    UsageError,
    VerificationRejected,
)

DAY = 86400_000_000


def refusal(document: object, store: TrustStore, now: int = NOW) -> str:
    """The code with which a bundle is refused."""
    with pytest.raises(VerificationRejected) as caught:
        decide(SUBJECT, raw(document), store, Policy(), now, 1)
    return caught.value.code


def store_refusal(document: object) -> str:
    """The words with which a trust store is refused."""
    with pytest.raises(TrustStoreInvalid) as caught:
        trust.parse(json.dumps(document).encode())
    return caught.value.message


# -- one key counted twice -------------------------------------------------------------------------


def _same_id(document: dict[str, Any]) -> None:
    for envelope in document["attestations"]:
        envelope["signatures"] *= 2


def _named_otherwise(spell: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for envelope in document["attestations"]:
            one = envelope["signatures"][0]
            envelope["signatures"].append({**one, "keyid": spell(one["keyid"])})

    return change


@pytest.mark.parametrize(("change", "code"), [
    (_same_id, "THRESHOLD_NOT_MET"),
    (_named_otherwise(lambda key_id: "alice"), "UNKNOWN_KEY"),
    (_named_otherwise(lambda key_id: key_id.removeprefix("sha256:")), "UNKNOWN_KEY"),
    (_named_otherwise(str.upper), "MALFORMED_BUNDLE"),
    (_named_otherwise(lambda key_id: key_id + " "), "MALFORMED_BUNDLE"),
    (_named_otherwise(lambda key_id: key("bob").public.key_id), "INVALID_SIGNATURE"),
], ids=["same id", "nickname", "bare hex", "upper case", "space", "another member's id"])
def test_ghsa_pwqf_9h7j_7mv8_one_key_does_not_meet_a_threshold_of_two(
    change: Callable[[dict[str, Any]], None], code: str
) -> None:
    """GHSA-pwqf-9h7j-7mv8, go-tuf#733: one key signs twice, or once under two ids."""
    made = World(threshold=2)
    document = made.document()
    change(document)
    assert refusal(document, made.trust()) == code


def _loosened(text: str) -> str:
    """The same bytes in base64 whose unused bits are not zero."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body = text.rstrip("=")
    assert body != text
    return body[:-1] + alphabet[alphabet.index(body[-1]) | 1] + text[len(body):]


@pytest.mark.parametrize(("again", "why"), [
    (lambda one: {**one, "id": "second"}, "is not the SHA-256"),
    (lambda one: {**one, "id": "sha256:" + "0" * 64}, "is not the SHA-256"),
    (lambda one: dict(one), "listed twice"),
    (lambda one: {**one, "publicKey": _loosened(one["publicKey"])}, "not canonical base64"),
    (lambda one: {**one, "publicKey": one["publicKey"] + "\n"}, "must match"),
    (lambda one: {**one, "publicKey": base64s.encode(base64.b64decode(one["publicKey"])[12:])},
     "not a CT-SIG-01 SubjectPublicKeyInfo"),
], ids=["second id", "forged id", "listed twice", "base64 spelled otherwise", "base64, line end", "raw"])
def test_ghsa_pwqf_9h7j_7mv8_one_key_has_one_id_and_one_encoding_in_a_trust_store(
    again: Callable[[dict[str, Any]], dict[str, Any]], why: str
) -> None:
    """go-tuf#733, GHSA-pwqf-9h7j-7mv8: one public key listed as two of a group."""
    document = World(threshold=2).trust().to_document()
    # An SPKI of 44 bytes ends in one "=": it has two unused bits.
    second = again(document["keys"]["builders"][0])
    document["keys"]["builders"].append(second)
    document["thresholds"]["release-signers"]["members"].append(second["id"])
    document["thresholds"]["release-signers"]["n"] += 1
    assert why in store_refusal(document)


def test_go_tuf_733_a_pinned_key_in_another_encoding_is_the_same_key() -> None:
    """go-tuf#733 for cosign's keys: a P-256 point compressed and not, one threshold of two."""
    public = ecdsa_key("cosign").public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    head = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    body = base64.b64encode(head + point).decode()
    other = f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"
    text = ('[[scope]]\nname = "a"\nimages = ["*"]\n[[scope.cosign]]\nthreshold = 2\n'
            f"keys = {json.dumps([pem('cosign'), other])}\n")
    with pytest.raises(ConfigInvalid, match="one is listed twice"):
        policy.parse(text)
    policy.parse(text.replace(json.dumps(other), json.dumps(pem("rekor"))))


# -- words that nobody signed ----------------------------------------------------------------------


VERIFIED = {"verified": "true", "kyverno.io/verify-images": '{"web":"pass"}', "io.vordr.verified": "true"}


def test_ghsa_2r43_6962_xcw5_annotations_and_labels_that_say_verified_let_nothing_start() -> None:
    """GHSA-2r43-6962-xcw5: the image says of itself, in manifest and config, that it was verified."""
    manifest, blobs = image_blobs([], config={"Labels": VERIFIED}, annotations=VERIFIED)
    document = json.loads(blobs[manifest])
    document["annotations"] = VERIFIED
    content = json.dumps(document).encode()
    config = blobs[document["config"]["digest"]]
    with pytest.raises(VerificationRejected) as caught:
        decide(subject_of(content, config), None, World().trust(), Policy(), NOW, 1)
    assert caught.value.code == "MISSING_ATTESTATION"


@pytest.mark.parametrize("place", ["", "attestations/0", "attestations/0/signatures/0", "logEntries/0"])
def test_ghsa_2r43_6962_xcw5_a_bundle_has_no_place_to_say_that_it_was_verified(place: str) -> None:
    """GHSA-2r43-6962-xcw5: a member that nobody signs and that a careless reader might believe."""
    made = World()
    document = made.document()
    at: Any = document
    for step in place.split("/") if place else ():
        at = at[int(step)] if isinstance(at, list) else at[step]
    at["annotations"] = VERIFIED
    assert refusal(document, made.trust()) == "MALFORMED_BUNDLE"


def _saying(document: dict[str, Any], time: int) -> dict[str, Any]:
    return {**document, "metadata": {"producer": "verified", "createdAt": format_rfc3339(time)}}


def test_time_from_an_unsigned_field_neither_revives_a_key_nor_ages_one() -> None:
    """Class: time from an unsigned field. The bundle's metadata says when it was made; nobody signs that."""
    expired = World(valid_until=NOW - DAY)
    document = _saying(expired.document(), NOW - 2 * DAY)
    assert refusal(document, expired.trust()) == "EXPIRED_KEY"
    young = World(valid_from=NOW + DAY)
    assert refusal(_saying(young.document(), NOW + 2 * DAY), young.trust()) == "KEY_NOT_YET_VALID"
    sound = World()
    plain = decide(SUBJECT, raw(sound.document()), sound.trust(), Policy(), NOW, 1)
    said = decide(SUBJECT, raw(_saying(World().document(), BEGIN - DAY)), sound.trust(), Policy(), NOW, 1)
    assert (said.keys, said.expires, said.decided) == (plain.keys, plain.expires, plain.decided)


def test_time_from_an_unsigned_field_is_not_the_age_of_an_attestation() -> None:
    """Class: time from an unsigned field. A policy's age counts from what the logs signed."""
    made = World()
    rule = policy.parse('[[scope]]\nname = "a"\nimages = ["*"]\nmax_attestation_age_days = 1\n')
    document = _saying(made.document(), NOW)
    verdict = decide(SUBJECT, raw(document), made.trust(), rule, NOW, 1)
    assert verdict.expires <= NOW + rule.verdict_ttl * 1_000_000
    with pytest.raises(Exception, match="first logged at"):
        decide(SUBJECT, raw(document), made.trust(), rule, NOW + DAY, 1)


# -- endless data ----------------------------------------------------------------------------------


class Endless(io.RawIOBase):
    """A file that goes on for ever after its beginning; counts what is asked of it."""

    def __init__(self, beginning: bytes, then: bytes) -> None:
        self.asked, self._beginning, self._then = 0, io.BytesIO(beginning), then

    def read(self, size: int = -1, /) -> bytes:
        assert size >= 0, "all of an endless file is asked for"
        got = self._beginning.read(size) or self._then * (size // len(self._then))
        self.asked += len(got)
        assert self.asked < 64 << 20, "no end is found to an endless file"
        return got


@pytest.mark.parametrize("then", [b"\0", b"x"], ids=["zeros", "letters"])
@pytest.mark.parametrize("beginning", ["package", "nothing", "header of 8 GiB"])
def test_endless_data_of_a_package_is_not_read_to_its_end(beginning: str, then: bytes) -> None:
    """Class: endless data (TUF specification, security, "endless data attacks")."""
    sound = {"package": SOUND, "nothing": b"", "header of 8 GiB": huge("attestations/sbom.json", 8**11 - 1)()}
    source = Endless(sound[beginning], then)
    with pytest.raises(ImageUnreadable):
        for _, _, stream in CtpReader(source).blobs():  # type: ignore[arg-type]  # reads are all it is asked for
            stream.drain()


def test_endless_signatures_cost_nothing_before_they_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Class: endless signatures. The 257th is refused before the first is verified."""
    verified = []
    monkeypatch.setattr(PublicKey, "verify", lambda self, sig, message: verified.append(sig) or True)
    made = World()
    document = made.document()
    for envelope in document["attestations"]:
        envelope["signatures"] *= 129
    assert refusal(document, made.trust()) == "MALFORMED_BUNDLE"
    assert verified == []


# -- confusable names ------------------------------------------------------------------------------


LOOKALIKES = {
    "Cyrillic letter": "docker.io/library/ngin\u0445", "full width letter": "docker.io/library/\uff4eginx",
    "Kelvin sign": "docker.io/library/\u212aube", "dotless i": "docker.io/library/ng\u0131nx",
    "zero width space": "docker.io/library/ng\u200binx", "fraction slash": "docker.io\u2044library/nginx",
    "right to left": "docker.io/library/\u202exnign", "combining": "docker.io/library/nginx\u0301",
    "upper case": "docker.io/library/Nginx", "registry": "d\u043ecker.io/library/nginx",
    "tag": "docker.io/library/nginx:l\u0430test", "at": "docker.io/library/nginx\uff20sha256:" + "0" * 64,
    "line end": "docker.io/library/nginx\n", "space": "docker.io/library/nginx "}


@pytest.mark.parametrize("name", LOOKALIKES.values(), ids=LOOKALIKES.keys())
def test_confusable_name_of_an_image_is_no_name(name: str) -> None:
    """Class: confusable names. What looks like an image's name and is not one."""
    with pytest.raises(FormatError):
        reference.parse(name)


def test_confusable_name_in_a_package_is_no_name_for_its_image() -> None:
    """Class: confusable names. The author of a package writes its name; signed and consistent it may be."""
    whole = apart(SOUND)
    small = {m.name: c for m, c in whole if not m.name.startswith(BLOBS)}
    for name in (LABEL, INDEX):
        small[name] = small[name].replace(b'"web"', '"w\u0435b"'.encode())
    sign_again(small)
    crafted = together([(info(m.name, small[m.name]) if m.name in small else (m, c)) for m, c in whole])
    reader = CtpReader(io.BytesIO(crafted))
    with pytest.raises(UsageError, match="invalid image reference"):
        full_name(reader.label.name)
    assert full_name(CtpReader(io.BytesIO(SOUND)).label.name) == "docker.io/library/web:latest"


NAMES = {
    "Cyrillic letter": ("\u0410lice", "mixes Cyrillic and Latin"),
    "Greek letter": ("Al\u03b9ce", "mixes Greek and Latin"),
    "full width beside Cyrillic": ("\uff21lic\u0435", "mixes"), "zero width": ("Al\u200bice", "do not show"),
    "right to left": ("\u202eecilA", "do not show"), "line end": ("Alice\nBob", "do not show"),
    "escape": ("\x1b[2JAlice", "do not show"), "space at the end": ("Alice ", "plain spelling"),
    "two spaces": ("Alice  B", "plain spelling"), "accent apart": ("Ame\u0301lie", "plain spelling"),
    "very long": ("A" * 501, "longer than")}


@pytest.mark.parametrize(("name", "why"), NAMES.values(), ids=NAMES.keys())
def test_confusable_name_of_a_keys_owner_is_refused(name: str, why: str) -> None:
    """Class: confusable names. The verdict says "published by" the owner: who reads it must not be misled."""
    document = World().trust().to_document()
    document["keys"]["builders"][0]["metadata"]["owner"] = name
    assert why in store_refusal(document)
    mallory = TrustedKey(key("mallory").public, (trust.BUILDERS,), BEGIN, owner=name)
    with pytest.raises(TrustStoreInvalid):
        trust.add_key(World().trust(), trust.BUILDERS, mallory, NOW)


@pytest.mark.parametrize("name", ["north", "NORTH", "Nort\uff48", "N\u043erth", "North\u00a0", "North "])
def test_confusable_name_of_an_operator_is_not_counted_as_another(name: str) -> None:
    """Class: confusable names. Distinct operators of logs are counted by their names."""
    document = World(operators=("North", "South", "West")).trust().to_document()
    document["logs"]["log-b"]["operator"] = name
    why = store_refusal(document)
    assert "$.logs.log-b.operator" in why, why


@pytest.mark.parametrize("name", [
    "", "Ada", "\u00c5sa \u0141ukasz", "\u0410\u0434\u0430", "\u0395\u03bb\u03ad\u03bd\u03b7",
    "\u6771\u4eac Tokyo", "Ada \u0410\u0434\u0430", "O'Brien-3 (CI)", "\u05d0\u05d3\u05d4"])
def test_names_of_every_script_are_names(name: str) -> None:
    document = World().trust().to_document()
    document["keys"]["builders"][0]["metadata"]["owner"] = name
    assert trust.parse(json.dumps(document).encode()).key(key("alice").public.key_id) is not None


# -- deep nesting and duplicate keys ---------------------------------------------------------------


DEEP = {"arrays": "[" * 100_000 + "]" * 100_000, "objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
        "65 levels": "[" * 65 + "]" * 65}


@pytest.mark.parametrize("deep", DEEP.values(), ids=DEEP.keys())
def test_deep_nesting_ends_in_a_refusal_whatever_is_read(deep: str) -> None:
    """Class: deep nesting, which ends readers that call themselves."""
    with pytest.raises(TrustStoreInvalid, match="nested deeper"):
        trust.parse(deep.encode())
    with pytest.raises(FormatError, match="nested deeper"):
        edge_policy.parse(deep.encode())
    with pytest.raises(ImageUnreadable, match="nested deeper"):
        subject_of(deep.encode(), b"{}")
    with pytest.raises(VerificationRejected) as caught:
        decide(SUBJECT, deep.encode(), World().trust(), Policy(), NOW, 1)
    assert caught.value.code == "MALFORMED_BUNDLE"
    signed = World().document()
    signed["attestations"][0] = World().envelope(deep.encode())
    assert refusal(signed, World().trust()) == "MALFORMED_BUNDLE"


@pytest.mark.parametrize("text", [
    "x = " + "[" * 50_000, "x = " + "{a = " * 50_000, "x = " + "[" * 65 + "]" * 65,
    "a." * 100 + "b = 1", "verdict_ttl" + ".a" * 2000 + " = 1", "verdict_ttl = " + "9" * 5000,
    "verdict_ttl = 0x" + "f" * 5000,
])
def test_deep_nesting_and_long_numbers_of_a_policy_are_refused_in_its_own_words(text: str) -> None:
    """Class: deep nesting, in TOML."""
    with pytest.raises((ConfigUnparsable, ConfigInvalid), match=r"policy\.toml"):
        policy.parse(text)


def _twice(name: str) -> Callable[[bytes], bytes]:
    """The member ``name`` once more, the second time by an escape."""
    plain = name.encode()
    both = b'"\\u%04x%b":null,"%b"' % (plain[0], plain[1:], plain)
    return lambda text: text.replace(b'"%b"' % plain, both, 1)


def test_duplicate_keys_are_refused_wherever_json_is_read() -> None:
    """Class: duplicate JSON keys, of which one reader takes the first and another the last."""
    store = canonical.dumps(World().trust().to_document())
    for name in ("logs", "publicKey", "validFrom", "k"):
        with pytest.raises(TrustStoreInvalid, match="duplicate key"):
            trust.parse(_twice(name)(store))
    edge = b'{"version":"1.0","name":"e","images":{"requireSbom":true}}'
    edge_policy.parse(edge)
    with pytest.raises(FormatError, match="duplicate key"):
        edge_policy.parse(_twice("requireSbom")(edge))
    manifest, blobs = image_blobs([])
    config = blobs[json.loads(blobs[manifest])["config"]["digest"]]
    with pytest.raises(ImageUnreadable, match="duplicate key"):
        subject_of(_twice("layers")(blobs[manifest]), config)


# -- signatures ------------------------------------------------------------------------------------


def _hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ED25519_L


def _scalar(seed: bytes) -> int:
    """The secret scalar of an Ed25519 seed (RFC 8032 §5.1.5)."""
    digest = bytearray(hashlib.sha512(seed).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 63 | 64
    return int.from_bytes(digest, "little")


def test_signature_malleability_by_a_second_spelling_of_r() -> None:
    """Class: signature malleability. R is the identity, spelled with y = p + 1, as decoders take it."""
    name = b"alice".ljust(32, b".")
    public, message = key("alice").public, b"message"
    for spelled in (ED25519_P + 1, ED25519_P + 1 | 1 << 255, 1 | 1 << 255):
        point = spelled.to_bytes(32, "little")
        s = _hash(point, public.raw, message) * _scalar(name) % ED25519_L
        assert not public.verify(point + s.to_bytes(32, "little"), message)
    plain = (1).to_bytes(32, "little")
    s = _hash(plain, public.raw, message) * _scalar(name) % ED25519_L
    # Its owner's own affair: the equation holds, and there is one spelling of it.
    assert public.verify(plain + s.to_bytes(32, "little"), message)


def test_signature_malleability_by_a_second_spelling_of_the_key() -> None:
    """Class: signature malleability. Each y has one spelling below p; the nineteen above it are refused."""
    for y in range(ED25519_P, 2**255):
        for sign in (0, 1 << 255):
            with pytest.raises(FormatError, match="canonical"):
                PublicKey(Suite.ED25519, (y | sign).to_bytes(32, "little"))


def test_signature_malleability_by_a_key_of_small_order() -> None:
    """Class: signature malleability. Under such a key one signature fits every message: none is trusted."""
    document = World().trust().to_document()
    head = bytes.fromhex("302a300506032b6570032100")
    for y in (0, 1, ED25519_P - 1):
        der = head + y.to_bytes(32, "little")
        entry_ = {**document["keys"]["builders"][0], "id": sha256(der), "publicKey": base64s.encode(der)}
        spoilt = copy.deepcopy(document)
        spoilt["keys"]["builders"][0] = entry_
        assert "small order" in store_refusal(spoilt)


@pytest.mark.parametrize("spoil", [
    lambda envelope: envelope.update(signatures=[]), lambda envelope: envelope.pop("signatures"),
    lambda envelope: envelope.update(signatures=None), lambda envelope: envelope.update(signatures={}),
    lambda envelope: envelope.update(signatures=[None]), lambda envelope: envelope.update(signatures=[{}]),
    lambda envelope: envelope.update(signatures=[{"keyid": "", "sig": ""}]),
], ids=["empty", "absent", "null", "object", "of null", "of nothing", "of empty words"])
def test_empty_signature_arrays_are_not_all_of_their_signatures(
    spoil: Callable[[dict[str, Any]], object]
) -> None:
    """Class: empty signature arrays: "all signatures hold" is true of none."""
    for at in (0, 1):
        made = World()
        document = made.document()
        spoil(document["attestations"][at])
        assert refusal(document, made.trust()) == "MALFORMED_BUNDLE"
    with pytest.raises(FormatError):
        dsse.parse({"payloadType": "t", "payload": "AA==", "signatures": []})


def test_algorithm_confusion_by_a_code_made_with_the_public_key() -> None:
    """Class: algorithm confusion (as CVE-2015-9235 for JSON web tokens): HMAC keyed with what all know."""
    made = World()
    document = made.document()
    public = key("alice").public
    for envelope in document["attestations"]:
        signed = dsse.pae(envelope["payloadType"], base64.b64decode(envelope["payload"]))
        for secret in (public.raw, public.to_spki(), public.to_pem().encode()):
            code = hmac.new(secret, signed, hashlib.sha512).digest()
            envelope["signatures"] = [{"keyid": public.key_id, "sig": base64s.encode(code)}]
    assert refusal(document, made.trust()) == "INVALID_SIGNATURE"


@pytest.mark.parametrize("member", [{"alg": "none"}, {"algorithm": "hmac-sha256"}, {"suite": "CT-SIG-04"}])
def test_algorithm_confusion_by_a_signature_that_names_its_algorithm(member: dict[str, str]) -> None:
    """Class: algorithm confusion. A signature has no say in how it is verified."""
    made = World()
    document = made.document()
    document["attestations"][0]["signatures"][0].update(member)
    assert refusal(document, made.trust()) == "MALFORMED_BUNDLE"


def _of(suite: Suite) -> PrivateKey:
    return PrivateKey.from_seeds(suite, *{Suite.ED448: (b"s" * 57,)}.get(suite, (b"s" * 32, b"t" * 32)))


@pytest.mark.parametrize(("given", "called"), [
    (Suite.ED448, "ed25519"), (Suite.ED25519, "ed448"), (Suite.ED25519, "ed25519+ml-dsa-87"),
    (Suite.ED25519, "rsa"), (Suite.ED25519, ""),
])
def test_algorithm_confusion_in_a_trust_store(given: Suite, called: str) -> None:
    """Class: algorithm confusion. A key is called what it is not."""
    public = key("mallory").public if given is Suite.ED25519 else _of(given).public
    store = trust.add_key(World().trust(), trust.BUILDERS, TrustedKey(public, (), BEGIN), NOW)
    document = store.to_document()
    listed = next(one for one in document["keys"]["builders"] if one["id"] == public.key_id)
    listed["algorithm"] = called
    assert "$.keys.builders" in store_refusal(document)
    listed["algorithm"] = "ed448" if given is Suite.ED448 else "ed25519"
    listed["suite"] = "CT-SIG-02"
    assert "suite" in store_refusal(document)


def test_algorithm_confusion_by_the_half_of_a_hybrid_signature() -> None:
    """Class: algorithm confusion. The Ed25519 half of CT-SIG-02 is a sound signature, of another key."""
    hybrid = _of(Suite.ED25519_ML_DSA_87)
    store = trust.add_key(World().trust(), trust.BUILDERS, TrustedKey(hybrid.public, (), BEGIN), NOW)
    half = PublicKey(Suite.ED25519, hybrid.public.parts[0])
    for key_id, code in ((hybrid.public.key_id, "INVALID_SIGNATURE"), (half.key_id, "UNKNOWN_KEY")):
        document = World().document()
        one = document["attestations"][0]
        signed = dsse.pae(one["payloadType"], base64.b64decode(one["payload"]))
        sig = hybrid.sign(signed)[:64]
        assert half.verify(sig, signed)
        one["signatures"].append({"keyid": key_id, "sig": base64s.encode(sig)})
        assert refusal(document, store) == code


# -- bombs -----------------------------------------------------------------------------------------


SMALL = Limits(stream_bytes=1 << 20, entries=100, ratio=100, ratio_from=1 << 18)
ZEROS = tar_of(entry("zeros", bytes(8 << 20)))


def unpack(blob: bytes, packing: Compression) -> int:
    """How many bytes come out; raises as the unpacking child does."""
    source = TarSource(io.BytesIO(blob).read, len(blob), packing, SMALL)
    for _, content in members(source.read):
        for _ in content:
            pass
    source.drain()
    return source.total


BOMBS: dict[str, tuple[bytes, Compression, type[Exception], str]] = {
    "gzip": (gzip.compress(ZEROS), Compression.GZIP, LimitExceeded, "100 times"),
    "zstd": (zstd(ZEROS), Compression.ZSTD, LimitExceeded, "100 times"),
    "gzip in many members": (
        gzip.compress(bytes(1 << 16)) * 4000, Compression.GZIP, LimitExceeded, "1048576 bytes"),
    "zstd in many frames": (
        zstd(ZEROS[:512]) + zstd(bytes(1 << 20)) * 9, Compression.ZSTD, LimitExceeded, "times its size"),
    "gzip of empty members": (
        gzip.compress(ZEROS[:512]) + gzip.compress(b"") * 50_000, Compression.GZIP, TarInvalid, "the end"),
    "nested gzip": (gzip.compress(gzip.compress(ZEROS)), Compression.GZIP, TarInvalid, "checksum"),
    "nested zstd": (zstd(zstd(ZEROS)), Compression.ZSTD, TarInvalid, "within a header"),
    "gzip under zstd's name": (gzip.compress(ZEROS), Compression.ZSTD, BlobInvalid, "not zstd"),
    "zstd that wants a window of 2 GiB": (
        bytes.fromhex("28b52ffd00a8") + b"\x03\0\0" + bytes(64), Compression.ZSTD, BlobInvalid, "memory"),
}


@pytest.mark.parametrize(("blob", "packing", "error", "why"), BOMBS.values(), ids=BOMBS.keys())
def test_decompression_bomb_is_stopped_at_its_bound(
    blob: bytes, packing: Compression, error: type[Exception], why: str
) -> None:
    """Class: decompression bombs: one, many small ones, one within another, and one of memory."""
    with pytest.raises(error, match=why):
        unpack(blob, packing)


def test_decompression_bomb_inside_a_layer_stays_a_file() -> None:
    """Class: decompression bombs, nested: what a layer holds is not unpacked any further."""
    inner = gzip.compress(gzip.compress(bytes(32 << 20)))
    layer = tar_of(entry("bomb.tar.gz", inner))
    assert unpack(layer, Compression.NONE) == len(layer)


# -- more than one reading of a package ------------------------------------------------------------


def test_diff_ids_that_are_not_the_layers_are_another_image() -> None:
    """Class: diffID is not the digest. A manifest is verified with the config that it names, and no other."""
    manifest, blobs = image_blobs([("application/vnd.oci.image.layer.v1.tar", b"layer", b"layer")])
    document = json.loads(blobs[manifest])
    config = json.loads(blobs[document["config"]["digest"]])
    subject = subject_of(blobs[manifest], blobs[document["config"]["digest"]])
    assert subject.layers == ((sha256(b"layer"), sha256(b"layer")),)
    config["rootfs"]["diff_ids"] = [sha256(b"evil")]
    with pytest.raises(ImageUnreadable, match="not the bytes that the manifest names"):
        subject_of(blobs[manifest], json.dumps(config).encode())
    more = {**document, "config": {**document["config"]}}
    for diff_ids in ([], [sha256(b"layer")] * 2):
        config["rootfs"]["diff_ids"] = diff_ids
        spoilt = json.dumps(config).encode()
        more["config"].update(digest=sha256(spoilt), size=len(spoilt))
        with pytest.raises(ImageUnreadable, match="diffIDs for 1 layers"):
            subject_of(json.dumps(more).encode(), spoilt)


def test_a_bundle_that_moved_to_another_image_is_refused() -> None:
    """CVE-2022-36056: what was signed and logged for one image is shown beside another."""
    made = World()
    other = replace(SUBJECT, manifest=sha256(b"another"))
    document = made.document()
    assert {digest_of(one) for one in document["attestations"]}
    with pytest.raises(VerificationRejected) as caught:
        decide(other, raw(document), made.trust(), Policy(), NOW, 1)
    assert caught.value.code == "SUBJECT_MISMATCH"
