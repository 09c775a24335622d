from __future__ import annotations

from typing import Any

import pytest

from vordr.formats import FormatError, dsse
from vordr.formats.signature import PrivateKey, Suite

KEY_ID = "sha256:" + "ab" * 32


def _object(**changes: Any) -> dict[str, Any]:
    obj = {
        "payloadType": "http://example.com/HelloWorld",
        "payload": "aGVsbG8gd29ybGQ=",
        "signatures": [{"keyid": KEY_ID, "sig": "c2ln"}],
    }
    return {**obj, **changes}


def test_the_pae_is_that_of_the_protocols_own_vector() -> None:
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_the_pae_counts_bytes() -> None:
    assert dsse.pae("é", b"\x00\xff") == b"DSSEv1 2 \xc3\xa9 2 \x00\xff"
    assert dsse.pae("", b"") == b"DSSEv1 0  0 "


def test_moving_bytes_between_type_and_payload_changes_the_pae() -> None:
    assert dsse.pae("a", b"b c") != dsse.pae("a 3 b", b"c")


def test_an_envelope_is_read_and_written() -> None:
    envelope = dsse.parse(_object())
    assert envelope.payload == b"hello world"
    assert envelope.signatures == (dsse.Signature(KEY_ID, b"sig"),)
    assert envelope.pae() == dsse.pae("http://example.com/HelloWorld", b"hello world")
    assert envelope.to_json() == _object()


def test_unknown_members_are_ignored() -> None:
    entry = {"keyid": KEY_ID, "sig": "c2ln", "cert": "x"}
    assert dsse.parse(_object(extra=1, signatures=[entry])) == dsse.parse(_object())


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"payloadType": ""}, "dsse.payloadType"),
        ({"payloadType": 7}, "dsse.payloadType"),
        ({"payload": None}, "dsse.payload"),
        ({"payload": ""}, "dsse.payload"),
        ({"payload": "aGVsbG8gd29ybGQ"}, "dsse.payload"),
        ({"payload": "aGVsbG8gd29ybGR="}, "dsse.payload"),
        ({"payload": "aGVs bG8="}, "dsse.payload"),
        ({"payload": "aGVsbG8=\n"}, "dsse.payload"),
        ({"payload": "aGVsbG8=aGVsbG8="}, "dsse.payload"),
        ({"payload": "-_-_"}, "dsse.payload"),
        ({"payload": "é"}, "dsse.payload"),
        ({"signatures": []}, "dsse.signatures"),
        ({"signatures": {}}, "dsse.signatures"),
        ({"signatures": [{"keyid": "a", "sig": "c2ln"}] * 257}, "dsse.signatures"),
        ({"signatures": ["x"]}, "dsse.signatures[0]"),
        ({"signatures": [{"sig": "c2ln"}]}, "dsse.signatures[0].keyid"),
        ({"signatures": [{"keyid": "a b", "sig": "c2ln"}]}, "dsse.signatures[0].keyid"),
        ({"signatures": [{"keyid": "a", "sig": "c2ln"}, {"keyid": "a"}]}, "dsse.signatures[1].sig"),
        ({"signatures": [{"keyid": "a", "sig": "c2lo="}]}, "dsse.signatures[0].sig"),
    ],
)
def test_malformed_envelopes_are_refused_with_the_place(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(FormatError) as caught:
        dsse.parse(_object(**changes))
    assert caught.value.where == where


@pytest.mark.parametrize("obj", [None, [], "x", {}, {"payloadType": "x"}])
def test_what_is_no_envelope_is_refused(obj: object) -> None:
    with pytest.raises(FormatError):
        dsse.parse(obj)


def test_256_signatures_are_read() -> None:
    assert len(dsse.parse(_object(signatures=[{"keyid": "a", "sig": "c2ln"}] * 256)).signatures) == 256


ONE, TWO = (PrivateKey.from_seeds(Suite.ED25519, bytes([n]) * 32) for n in (1, 2))


def test_signing_adds_a_signature_that_holds_in_the_order_of_the_key_ids() -> None:
    envelope = dsse.Envelope("text/plain", b"payload", ())
    signed = envelope.signed_by(ONE).signed_by(TWO)
    assert signed == envelope.signed_by(TWO).signed_by(ONE)
    assert [one.keyid for one in signed.signatures] == sorted((ONE.public.key_id, TWO.public.key_id))
    assert (signed.payload_type, signed.payload) == ("text/plain", b"payload")
    keys = {key.public.key_id: key.public for key in (ONE, TWO)}
    assert all(keys[one.keyid].verify(one.sig, envelope.pae()) for one in signed.signatures)


def test_signing_again_gives_the_same_envelope() -> None:
    signed = dsse.Envelope("text/plain", b"payload", ()).signed_by(ONE).signed_by(TWO)
    assert signed.signed_by(TWO) is signed and signed.signed_by(ONE) is signed
