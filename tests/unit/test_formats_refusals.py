"""Every refusal of the formats names the place and what is wrong there, and shows no text without bound."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from vordr.formats import (
    FormatError,
    base64s,
    canonical,
    checkpoint,
    curves,
    digests,
    dsse,
    frames,
    merkle,
    note,
    reference,
    times,
    toml,
    uuid7,
)
from vordr.formats.signature import PrivateKey, PublicKey, Suite

ED = PrivateKey.from_seeds(Suite.ED25519, bytes(32))
ED448 = PrivateKey.from_seeds(Suite.ED448, bytes(57))
HYBRID = PrivateKey.from_seeds(Suite.ED25519_ML_DSA_87, bytes(32), bytes(32))
EC = ec.generate_private_key(ec.SECP256R1())
EC_PEM = EC.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
EC_SPKI = base64s.encode(EC.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
LONE = "\ud800"
SIGNED = {"payloadType": "t", "payload": "YQ==", "signatures": [{"keyid": "k", "sig": "YQ=="}]}
NOTE = note.sign_note("text\n", "who", ED)
VERIFIER = note.encode_verifier_key("who", ED.public)


def envelope(**changed: Any) -> Callable[[], object]:
    return lambda: dsse.parse({**SIGNED, **changed})


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def point(curve_order_bytes: int) -> bytes:
    return (2).to_bytes(curve_order_bytes, "little")


REFUSALS: list[tuple[Callable[[], object], str, str]] = [
    (lambda: base64s.decode("é", "here"), "here", "not base64: "),
    (lambda: base64s.decode("YQ=", "here"), "here", "not base64: "),
    (lambda: base64s.decode("YR==", "here"), "here", "not canonical"),
    (lambda: canonical.dumps({"a": float("nan")}), "canonical json", "nan"),
    (lambda: canonical.dumps({"a": 2**53}), "canonical json", "9007199254740992"),
    (lambda: canonical.dumps(nested(100_000)), "canonical json", "nested"),
    (lambda: canonical.loads(b"[1]", max_bytes=2, where="w"), "w", "3 bytes, at most 2"),
    (lambda: canonical.loads(b"\xef\xbb\xbf1", where="w"), "w", "byte order mark"),
    (lambda: canonical.loads(b"[[1]]", max_depth=1, where="w"), "w", "nested deeper than 1"),
    (lambda: canonical.loads(b'{"a":1,"b":2,"a":3}', where="w"), "w", "duplicate key 'a'"),
    (lambda: canonical.loads(b"[NaN]", where="w"), "w", "NaN is not JSON"),
    (lambda: canonical.loads(b"[-Infinity]", where="w"), "w", "-Infinity is not JSON"),
    (lambda: canonical.loads(b"[1e999]", where="w"), "w", "1e999 is too large"),
    (lambda: canonical.loads(b"[-1e999]", where="w"), "w", "-1e999 is too large"),
    (lambda: canonical.loads(b'["\xff"]', where="w"), "w", "not UTF-8 at byte 2"),
    (lambda: canonical.loads(b"[1", where="w"), "w", "delimiter"),
    (lambda: canonical.loads("[" + "1" * 5000 + "]", where="w"), "w", "digits"),
    (lambda: canonical.loads(b"[" * 100_000 + b"]" * 100_000, max_depth=200_000, where="w"), "w",
     "too deeply"),
    (lambda: canonical.loads('"ab' + LONE + '"', where="w"), "w", "surrogate at character 3"),
    (lambda: canonical.loads(b'"\\ud800"', where="w"), "w", "lone surrogate"),
    (lambda: canonical.loads(b'[1, ["\\udfff"]]', where="w"), "w", "lone surrogate"),
    (lambda: canonical.loads(b'{"a": {"\\udfff": 1}}', where="w"), "w", "lone surrogate"),
    (lambda: canonical.loads(b'{"a": {"b": "\\udfff"}}', where="w"), "w", "lone surrogate"),
    (lambda: checkpoint.Checkpoint("", 0, merkle.EMPTY_ROOT), "checkpoint", "empty line"),
    (lambda: checkpoint.Checkpoint("o", 0, merkle.EMPTY_ROOT, ("a\n",)), "checkpoint", "'a\\n'"),
    (lambda: checkpoint.Checkpoint("o", -1, merkle.EMPTY_ROOT), "checkpoint", "size -1 "),
    (lambda: checkpoint.Checkpoint("o", 2**63, merkle.EMPTY_ROOT), "checkpoint", f"size {2**63} "),
    (lambda: checkpoint.Checkpoint("o", 1, bytes(31)), "checkpoint", "32 bytes"),
    (lambda: checkpoint.Checkpoint("o", 0, bytes(32)), "checkpoint", "another root"),
    (lambda: checkpoint.parse("o\n0\nx"), "checkpoint", "newline"),
    (lambda: checkpoint.parse("o\n0\n"), "checkpoint", "three lines"),
    (lambda: checkpoint.parse("o\n01\nx\n"), "checkpoint", "not a size: '01'"),
    (lambda: checkpoint.parse("o\n1\nx\n"), "checkpoint root", "base64"),
    (lambda: curves.check_ed25519_key(b"\xff" * 32, "k"), "k", "canonical"),
    (lambda: curves.check_ed25519_key(bytes(32), "k"), "k", "small order"),
    (lambda: curves.check_ed25519_key(point(32), "k"), "k", "not a point"),
    (lambda: curves.check_ed25519_key(bytes(32)), "Ed25519 key", "small order"),
    (lambda: curves.check_ed448_key(b"\xff" * 57, "k"), "k", "canonical"),
    (lambda: curves.check_ed448_key(bytes(57), "k"), "k", "small order"),
    (lambda: curves.check_ed448_key(point(57), "k"), "k", "not a point"),
    (lambda: curves.check_ed448_key(bytes(57)), "Ed448 key", "small order"),
    (lambda: digests.parse_digest("sha256:A"), "digest", "'sha256:A'"),
    (lambda: digests.parse_digest("sha256:A", "w"), "w", "'sha256:A'"),
    (lambda: dsse.pae(LONE, b""), "dsse.payloadType", "lone surrogate"),
    (lambda: dsse.parse([]), "dsse", "not an object"),
    (lambda: dsse.parse([], "w"), "w", "not an object"),
    (envelope(payloadType=""), "dsse.payloadType", "missing"),
    (envelope(payloadType=1), "dsse.payloadType", "not a string"),
    (envelope(payload=""), "dsse.payload", "missing"),
    (envelope(payload="é"), "dsse.payload", "base64"),
    (envelope(signatures={}), "dsse.signatures", "not an array"),
    (envelope(signatures=[]), "dsse.signatures", "0 entries, 1 to 256"),
    (envelope(signatures=[{"keyid": "k", "sig": "YQ=="}] * 257), "dsse.signatures", "257 entries"),
    (envelope(signatures=[{"keyid": "k", "sig": "YQ=="}, 1]), "dsse.signatures[1]", "not an object"),
    (envelope(signatures=[{"sig": "YQ=="}]), "dsse.signatures[0].keyid", "missing"),
    (envelope(signatures=[{"keyid": "a b", "sig": "YQ=="}]), "dsse.signatures[0].keyid", "'a b'"),
    (envelope(signatures=[{"keyid": "k"}]), "dsse.signatures[0].sig", "missing"),
    (envelope(signatures=[{"keyid": "k", "sig": "YQ"}]), "dsse.signatures[0].sig", "base64"),
    (lambda: dsse.Envelope("t", b"p", (dsse.Signature(ED.public.key_id, bytes(64)),)).signed_by(ED),
     "dsse.signatures", f"named {ED.public.key_id}"),
    (lambda: frames.encode({"a": object()}), "frame", "cannot be encoded: "),
    (lambda: frames.encode({"a": "x" * frames.MAX_FRAME}), "frame", f"at most {frames.MAX_FRAME}"),
    (lambda: frames.Decoder(max_frame=2).feed(b"\x00\x00\x00\x03"), "frame", "3 bytes, at most 2"),
    (lambda: frames.Decoder().feed(b"\x00\x00\x00\x02[]"), "frame", "not a JSON object: "),
    (lambda: merkle.Frontier(-1), "frontier", "size -1 "),
    (lambda: merkle.Frontier(1), "frontier", "needs 1 hashes"),
    (lambda: merkle.Frontier().append(bytes(31)), "frontier", "32 bytes"),
    (lambda: merkle.Frontier.from_bytes(bytes(7)), "frontier", "shorter"),
    (lambda: merkle.inclusion_path(3, [bytes(32)] * 3), "merkle", "no leaf 3 in a tree of 3"),
    (lambda: merkle.consistency_path(4, [bytes(32)] * 3), "merkle", "size 4 with size 3"),
    (lambda: note.parse_note("x" * (note.MAX_BYTES + 1)), "note", f"than {note.MAX_BYTES} bytes"),
    (lambda: note.parse_note("x\n"), "note", "empty line"),
    (lambda: note.parse_note("x\n\n— a b"), "note", "not ended"),
    (lambda: note.parse_note(NOTE + NOTE.splitlines(True)[-1] * 100), "note", "than 100 signatures"),
    (lambda: note.parse_note("x\n\n- a b\n"), "note", "'- a b'"),
    (lambda: note.parse_note("x\n\n— a+ b\n"), "note key name", "'a+'"),
    (lambda: note.parse_note("x\n\n— a b\n"), "note signature", "base64"),
    (lambda: note.parse_note("x\n\n— a AAAAAA==\n"), "note signature", "shorter"),
    (lambda: note.sign_note("text", "who", ED), "note", "newline"),
    (lambda: note.sign_note("a\tb\n", "who", ED), "note", "control character"),
    (lambda: note.sign_note(LONE + "\n", "who", ED), "note", "lone surrogate"),
    (lambda: note.sign_note("a\n", "", ED), "note key name", "''"),
    (lambda: note.sign_note("a\n", "who", ED448), "note", "CT-SIG-01, not CT-SIG-04"),
    (lambda: note.parse_verifier_key("who"), "verifier key", "name+hash+key"),
    (lambda: note.parse_verifier_key("who+00000000"), "verifier key", "name+hash+key"),
    (lambda: note.parse_verifier_key("who+0000000+AQ=="), "verifier key", "name+hash+key"),
    (lambda: note.parse_verifier_key("+" + VERIFIER.partition("+")[2]), "note key name", "''"),
    (lambda: note.parse_verifier_key("who+00000000+A"), "verifier key", "base64"),
    (lambda: note.parse_verifier_key("who+00000000+Ag=="), "verifier key", "not an Ed25519"),
    (lambda: note.parse_verifier_key("you" + VERIFIER[3:]), "verifier key", "hash"),
    (lambda: reference.parse(""), "reference", "empty"),
    (lambda: reference.parse("a" * 64), "reference", "image id"),
    (lambda: reference.Reference("a_b.c", "d"), "reference", "not a registry: 'a_b.c'"),
    (lambda: reference.Reference("a" * 300 + ".c", "d"), "reference", "not a registry"),
    (lambda: reference.Reference("a.b:0", "d"), "reference", "not a port: 'a.b:0'"),
    (lambda: reference.Reference("a.b:65536", "d"), "reference", "not a port: 'a.b:65536'"),
    (lambda: reference.Reference("plain", "d"), "reference", "'plain'"),
    (lambda: reference.Reference("index.docker.io", "d"), "reference", "'index.docker.io'"),
    (lambda: reference.Reference("docker.io", "d"), "reference", "namespace"),
    (lambda: reference.Reference("a.b", "d" * 256), "reference", "longer than 255"),
    (lambda: reference.Reference("a.b", "D"), "reference", "lowercase: 'D'"),
    (lambda: reference.Reference("a.b", "d//e"), "reference", "not a repository: 'd//e'"),
    (lambda: reference.Reference("a.b", "d", "-"), "reference", "not a tag: '-'"),
    (lambda: reference.Reference("a.b", "d", None, "sha256:A"), "reference", "'sha256:A'"),
    (lambda: PublicKey(Suite.ED25519, bytes(31)), "public key", "CT-SIG-01 has 32 bytes, not 31"),
    (lambda: PublicKey.from_spki_base64("é", Suite.ED25519), "public key", "base64"),
    (lambda: PublicKey.from_spki_base64(EC_SPKI, Suite.ED25519), "public key", "not a CT-SIG-01 "),
    (lambda: PublicKey.from_text(ED.public.to_pem() + "x"), "public key", "more in the PEM"),
    (lambda: PublicKey.from_text("é"), "public key", "base64"),
    (lambda: PublicKey.from_text(EC_SPKI), "public key", "of no suite"),
    (lambda: PublicKey.from_text(ED448.public.to_pem() + ED.public.to_pem()), "public key", "of no suite"),
    (lambda: PrivateKey(Suite.ED448, ED._keys), "private key", "not the keys of CT-SIG-04"),
    (lambda: PrivateKey.from_seeds(Suite.ED25519, b"", b""), "private key", "CT-SIG-01 needs 1 seeds"),
    (lambda: PrivateKey.from_seeds(Suite.ED25519, b""), "private key", "32"),
    (lambda: ED.to_pem(b""), "private key", "empty passphrase"),
    (lambda: PrivateKey.from_pem(b""), "private key", "not PEM"),
    (lambda: PrivateKey.from_pem(b"x" + ED.to_pem(None)), "private key", "not PEM"),
    (lambda: PrivateKey.from_pem(ED.to_pem(None), b"x"), "private key", "assword"),
    (lambda: PrivateKey.from_pem(EC_PEM), "private key", "an algorithm of no suite"),
    (lambda: PrivateKey.from_pem(ED.to_pem(None) * 2), "private key", "no suite: ED25519 ED25519"),
    (lambda: times.parse_rfc3339("now"), "time", "'now'"),
    (lambda: times.parse_rfc3339("2026-02-30T00:00:00Z"), "time", "'2026-02-30T00:00:00Z': day"),
    (lambda: times.parse_rfc3339("2026-02-03T00:00:00+24:00"), "time", "+24:00': offset"),
    (lambda: times.parse_rfc3339("2026-02-03T00:00:00-00:60"), "time", "-00:60': offset"),
    (lambda: times.parse_rfc3339("0001-01-01T00:00:00+00:01"), "time", "+00:01': outside"),
    (lambda: times.format_rfc3339(10**18), "time", "1000000000000000000 µs"),
    (lambda: toml.loads("x", "w"), "w", "not TOML: "),
    (lambda: toml.loads(f"a = {'[' * 65}{']' * 65}", "w"), "w", "nested deeper than 64"),
    (lambda: toml.loads(f"a = {'[' * 5000}{']' * 5000}", "w"), "w", "nested deeper than 64"),
    (lambda: toml.loads(f"a = {2**63}", "w"), "w", "64 bits"),
    (lambda: toml.loads(f"a = [{{b = {-2**63 - 1}}}]", "w"), "w", "64 bits"),
    (lambda: uuid7.uuid7(-1, bytes(10)), "uuid7", "time -1 ms"),
    (lambda: uuid7.uuid7(2**48, bytes(10)), "uuid7", f"time {2**48} ms"),
    (lambda: uuid7.uuid7(0, bytes(9)), "uuid7", "got 9"),
    (lambda: uuid7.timestamp_ms("x"), "uuid7", "'x'"),
]


@pytest.mark.parametrize(("call", "where", "words"), REFUSALS)
def test_a_refusal_names_the_place_and_what_is_wrong(
    call: Callable[[], object], where: str, words: str
) -> None:
    with pytest.raises(FormatError) as refusal:
        call()
    assert refusal.value.where == where
    assert words in refusal.value.message
    assert str(refusal.value) == f"{where}: {refusal.value.message}"
    assert refusal.value.args == (where, refusal.value.message)


LONG = "x" * 3000
BOUNDED: list[tuple[Callable[[], object], int]] = [
    (lambda: canonical.loads(f'{{"{LONG}": 1, "{LONG}": 2}}'), 100),
    (lambda: canonical.loads("1" + "0" * 1000 + ".0"), 40),
    (lambda: checkpoint.Checkpoint(LONG + "\n", 0, merkle.EMPTY_ROOT), 100),
    (lambda: checkpoint.parse(f"o\n{LONG}\nx\n"), 40),
    (lambda: digests.parse_digest(LONG), 100),
    (lambda: dsse.parse({**SIGNED, "signatures": [{"keyid": LONG, "sig": "YQ=="}]}), 100),
    (lambda: note.parse_note(f"x\n\n{LONG}\n"), 100),
    (lambda: note.sign_note("a\n", LONG + "+", ED), 100),
    (lambda: reference.Reference(LONG, "d"), 100),
    (lambda: reference.Reference("a.b", "xD" * 60), 0),
    (lambda: reference.Reference("a.b", "x" * 200 + "//"), 100),
    (lambda: reference.Reference("a.b", "d", LONG), 150),
    (lambda: times.parse_rfc3339(LONG), 60),
    (lambda: uuid7.timestamp_ms(LONG), 60),
]


@pytest.mark.parametrize(("call", "shown"), BOUNDED)
def test_a_refusal_shows_the_beginning_of_a_long_text_only(call: Callable[[], object], shown: int) -> None:
    with pytest.raises(FormatError) as refusal:
        call()
    runs = [len(run) for run in re.findall("x+|10*", refusal.value.message)]
    assert max(runs) == shown if shown else len(refusal.value.message) < 170
