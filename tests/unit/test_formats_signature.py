from __future__ import annotations

import pickle

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA87PrivateKey

from vordr.formats import FormatError, base64s, curves, digests, mldsa, pkcs8
from vordr.formats.signature import PrivateKey, PublicKey, Suite

# RFC 8032 §7.1 and §7.4: suite, secret key, public key, message, signature.
RFC_8032 = [
    (
        Suite.ED25519,
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        Suite.ED25519,
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        Suite.ED25519,
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        Suite.ED448,
        "6c82a562cb808d10d632be89c8513ebf6c929f34ddfa8c9f63c9960ef6e348a3528c8a3fcc2f044e39a3fc5b94492f8f"
        "032e7549a20098f95b",
        "5fd7449b59b461fd2ce787ec616ad46a1da1342485a70e1f8a0ea75d80e96778edf124769b46c7061bd6783df1e50f6c"
        "d1fa1abeafe8256180",
        "",
        "533a37f6bbe457251f023c0d88f976ae2dfb504a843e34d2074fd823d41a591f2b233f034f628281f2fd7a22ddd47d78"
        "28c59bd0a21bfd3980ff0d2028d4b18a9df63e006c5d1c2d345b925d8dc00b4104852db99ac5c7cdda8530a113a0f4db"
        "b61149f05a7363268c71d95808ff2e652600",
    ),
    (
        Suite.ED448,
        "c4eab05d357007c632f3dbb48489924d552b08fe0c353a0d4a1f00acda2c463afbea67c5e8d2877c5e3bc397a659949e"
        "f8021e954e0a12274e",
        "43ba28f430cdff456ae531545f7ecd0ac834a55d9358c0372bfa0c6c6798c0866aea01eb00742802b8438ea4cb82169c"
        "235160627b4c3a9480",
        "03",
        "26b8f91727bd62897af15e41eb43c377efb9c610d48f2335cb0bd0087810f4352541b143c4b981b7e18f62de8ccdf633"
        "fc1bf037ab7cd779805e0dbcc0aae1cbcee1afb2e027df36bc04dcecbf154336c19f0af7e0a6472905e799f1953d2a0f"
        "f3348ab21aa4adafd1d234441cf807c03a00",
    ),
]
SEEDS = {
    Suite.ED25519: (bytes(32),),
    Suite.ED25519_ML_DSA_87: (bytes(32), bytes(range(32))),
    Suite.ED448: (bytes(57),),
}
every_suite = pytest.mark.parametrize("suite", list(Suite))


def _key(suite: Suite) -> PrivateKey:
    return PrivateKey.from_seeds(suite, *SEEDS[suite])


@pytest.mark.parametrize(("suite", "secret", "public", "message", "signature"), RFC_8032)
def test_rfc_8032_vectors(suite: Suite, secret: str, public: str, message: str, signature: str) -> None:
    key = PrivateKey.from_seeds(suite, bytes.fromhex(secret))
    assert key.public.raw.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert PublicKey(suite, bytes.fromhex(public)).verify(bytes.fromhex(signature), bytes.fromhex(message))


def test_an_aggregate_of_frost_is_an_ordinary_signature_under_the_groups_key() -> None:
    """RFC 9591, appendix E.1: two of three signed, and nothing in the signature tells."""
    group = PublicKey(Suite.ED25519, bytes.fromhex(
        "15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673"))
    aggregate = bytes.fromhex(
        "36282629c383bb820a88b71cae937d41f2f2adfcc3d02e55507e2fb9e2dd3cbe"
        "bd9d2b0844e49ae0f3fa935161e1419aab7b47d21a37ebeae1f17d4987b3160b")
    assert group.verify(aggregate, b"test")
    assert not group.verify(aggregate, b"tests")


@every_suite
def test_a_signature_holds_for_its_message_and_key_alone(suite: Suite) -> None:
    key, other = PrivateKey.generate(suite), PrivateKey.generate(suite)
    sig = key.sign(b"message")
    assert len(sig) == suite.signature_size
    assert key.public.verify(sig, b"message")
    assert not key.public.verify(sig, b"massage")
    assert not other.public.verify(sig, b"message")
    assert not key.public.verify(sig[:-1], b"message")
    assert not key.public.verify(sig + b"\x00", b"message")
    assert not key.public.verify(b"", b"message")
    assert not key.public.verify(bytes(len(sig)), b"message")


def test_the_sizes_are_those_of_the_standards() -> None:
    assert [(suite.key_size, suite.signature_size) for suite in Suite] == [(32, 64), (2624, 4691), (57, 114)]


@pytest.mark.parametrize("at", [0, 40, 63, 64, 2000, 4690])
def test_either_broken_half_breaks_a_hybrid_signature(at: int) -> None:
    key = _key(Suite.ED25519_ML_DSA_87)
    sig = bytearray(key.sign(b"m"))
    sig[at] ^= 1
    assert not key.public.verify(bytes(sig), b"m")


def test_halves_of_two_hybrid_signatures_mix_only_over_one_message() -> None:
    key = _key(Suite.ED25519_ML_DSA_87)
    one, two = key.sign(b"one"), key.sign(b"two")
    assert not key.public.verify(one[:64] + two[64:], b"one")
    assert not key.public.verify(one[:64] + two[64:], b"two")


def test_an_ed25519_signature_with_l_added_to_s_is_refused() -> None:
    key = _key(Suite.ED25519)
    sig = key.sign(b"m")
    s = int.from_bytes(sig[32:], "little") + curves.ED25519_L
    assert not key.public.verify(sig[:32] + s.to_bytes(32, "little"), b"m")
    assert not curves.ed25519_scalar_is_reduced(sig[:32] + s.to_bytes(32, "little"))
    assert curves.ed25519_scalar_is_reduced(sig)


def test_an_ed448_signature_with_l_added_to_s_is_refused() -> None:
    key = _key(Suite.ED448)
    sig = key.sign(b"m")
    s = int.from_bytes(sig[57:], "little") + curves.ED448_L
    assert not key.public.verify(sig[:57] + s.to_bytes(57, "little"), b"m")
    assert not curves.ed448_scalar_is_reduced(sig[:57] + s.to_bytes(57, "little"))
    assert curves.ed448_scalar_is_reduced(sig)


P, Q = curves.ED25519_P, curves.ED448_P
Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7


@pytest.mark.parametrize("sign", [0, 1 << 255])
@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (0, "small order"),
        (1, "small order"),
        (P - 1, "small order"),
        (Y8, "small order"),
        (P - Y8, "small order"),
        (P, "canonical"),
        (P + 1, "canonical"),
        (P + 3, "canonical"),
        (2**255 - 1, "canonical"),
        (2, "not a point"),
    ],
)
def test_unsound_ed25519_keys_are_refused(y: int, sign: int, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        PublicKey(Suite.ED25519, (y | sign).to_bytes(32, "little"))


@pytest.mark.parametrize("sign", [0, 1 << 455])
@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (0, "small order"),
        (1, "small order"),
        (Q - 1, "small order"),
        (Q, "canonical"),
        (Q + 2, "canonical"),
        (1 << 450, "canonical"),
        (2, "not a point"),
    ],
)
def test_unsound_ed448_keys_are_refused(y: int, sign: int, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        PublicKey(Suite.ED448, (y | sign).to_bytes(57, "little"))


def test_the_listed_points_of_order_eight_are_that() -> None:
    """Doubling a point of order 8 gives one of order 4, whose y is 0: y_2P = (y² + x²) / (2 - (y² - x²))."""
    d = -121665 * pow(121666, -1, P) % P
    x2 = (Y8 * Y8 - 1) * pow(d * Y8 * Y8 + 1, -1, P) % P
    assert pow(x2, (P - 1) // 2, P) == 1
    assert (Y8 * Y8 + x2) % P == 0


def test_a_hybrid_key_with_an_unsound_ed25519_half_is_refused() -> None:
    raw = _key(Suite.ED25519_ML_DSA_87).public.raw
    with pytest.raises(FormatError, match="small order"):
        PublicKey(Suite.ED25519_ML_DSA_87, bytes(32) + raw[32:])


@every_suite
def test_a_public_key_survives_its_spki(suite: Suite) -> None:
    public = _key(suite).public
    assert PublicKey.from_spki_base64(public.to_spki_base64(), suite) == public
    assert public.key_id == digests.sha256_digest(public.to_spki())


def test_spki_is_what_the_cryptography_library_writes() -> None:
    library: list[Ed25519PrivateKey | MLDSA87PrivateKey | Ed448PrivateKey] = [
        Ed25519PrivateKey.from_private_bytes(bytes(32)),
        MLDSA87PrivateKey.from_seed_bytes(bytes(range(32))),
        Ed448PrivateKey.from_private_bytes(bytes(57)),
    ]
    ders = [
        key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for key in library
    ]
    assert _key(Suite.ED25519).public.to_spki() == ders[0]
    assert _key(Suite.ED25519_ML_DSA_87).public.to_spki() == ders[0] + ders[1]
    assert _key(Suite.ED448).public.to_spki() == ders[2]


def test_the_key_of_the_published_trust_store_vector_is_read() -> None:
    text = "MCowBQYDK2VwAyEAGb9F2CMCwMPPBmrZJJNtFe0BzLXmVr3QBT7Q4joZt0Y="
    assert PublicKey.from_spki_base64(text, Suite.ED25519).to_spki_base64() == text


@every_suite
def test_spki_of_another_suite_or_shape_is_refused(suite: Suite) -> None:
    der = _key(suite).public.to_spki()
    for other in Suite:
        if other is not suite:
            with pytest.raises(FormatError):
                PublicKey.from_spki_base64(base64s.encode(der), other)
    for bad in (der[:-1], der + b"\x00", der + der, b"\x31" + der[1:], b""):
        with pytest.raises(FormatError):
            PublicKey.from_spki_base64(base64s.encode(bad), suite)


@every_suite
@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_private_key_survives_its_pem(suite: Suite, passphrase: bytes | None) -> None:
    key = _key(suite)
    pem = key.to_pem(passphrase)
    back = PrivateKey.from_pem(pem, passphrase)
    assert back.suite is suite
    assert back.public == key.public
    assert key.public.verify(back.sign(b"m"), b"m")
    assert (b"ENCRYPTED" in pem) is (passphrase is not None)


def test_a_locked_key_opens_with_its_passphrase_alone() -> None:
    pem = _key(Suite.ED25519).to_pem(b"right")
    for wrong in (b"wrong", None, b""):
        with pytest.raises(FormatError):
            PrivateKey.from_pem(pem, wrong)
    with pytest.raises(FormatError):
        PrivateKey.from_pem(_key(Suite.ED25519).to_pem(None), b"needless")
    with pytest.raises(FormatError, match="empty passphrase"):
        _key(Suite.ED25519).to_pem(b"")


def test_two_locked_copies_of_a_key_differ() -> None:
    key = _key(Suite.ED25519)
    assert key.to_pem(b"pw") != key.to_pem(b"pw")


def test_pem_that_makes_up_no_suite_is_refused() -> None:
    ed25519, hybrid = _key(Suite.ED25519).to_pem(None), _key(Suite.ED25519_ML_DSA_87).to_pem(None)
    ml_dsa = hybrid[len(ed25519) :]
    p256 = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for bad in (ml_dsa, ml_dsa + ed25519, ed25519 * 2, p256, b"", b"junk\n" + ed25519, ed25519[:-10]):
        with pytest.raises(FormatError):
            PrivateKey.from_pem(bad)


@every_suite
def test_a_private_key_shows_no_secret_and_does_not_pickle(suite: Suite) -> None:
    key = _key(suite)
    assert key.public.key_id[:19] in repr(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_seeds_of_the_wrong_length_or_number_are_refused() -> None:
    with pytest.raises(FormatError):
        PrivateKey.from_seeds(Suite.ED25519, bytes(31))
    with pytest.raises(FormatError):
        PrivateKey.from_seeds(Suite.ED25519_ML_DSA_87, bytes(32))
    with pytest.raises(FormatError):
        PublicKey(Suite.ED448, bytes(32))


# -- public keys as text ---------------------------------------------------------------------------


@every_suite
def test_a_public_key_survives_its_pem_and_its_base64(suite: Suite) -> None:
    public = _key(suite).public
    assert public.to_pem().count("BEGIN PUBLIC KEY") == len(public.parts)
    for text in (public.to_pem(), public.to_pem().replace("\n", "\r\n"), public.to_spki_base64() + "\n"):
        assert PublicKey.from_text(text) == public


def test_a_public_keys_pem_is_what_the_cryptography_library_writes() -> None:
    library = Ed448PrivateKey.from_private_bytes(bytes(57)).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert _key(Suite.ED448).public.to_pem().encode() == library


def test_halves_of_a_hybrid_key_are_no_key_of_another_suite() -> None:
    hybrid = _key(Suite.ED25519_ML_DSA_87).public
    first, second = hybrid.to_pem().split("-----END PUBLIC KEY-----\n")[:2]
    end = "-----END PUBLIC KEY-----\n"
    assert PublicKey.from_text(first + end).suite is Suite.ED25519
    ed448 = _key(Suite.ED448).public.to_pem()
    for bad in (second + end, second + end + first + end, hybrid.to_pem() + first + end, first + end + ed448,
                "x" + first + end, first + end + "# comment", "", "-----BEGIN PUBLIC KEY-----\n"):
        with pytest.raises(FormatError):
            PublicKey.from_text(bad)


# -- where the library cannot do ML-DSA-87 ---------------------------------------------------------


@pytest.fixture
def without_ml_dsa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mldsa, "available", lambda: False)


def test_a_hybrid_signature_does_not_hold_where_half_of_it_cannot_be_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = _key(Suite.ED25519_ML_DSA_87)
    sig = key.sign(b"m")
    assert key.public.verify(sig, b"m")
    monkeypatch.setattr(mldsa, "available", lambda: False)
    assert not key.public.verify(sig, b"m")


def test_hybrid_keys_are_neither_made_nor_opened_without_ml_dsa(monkeypatch: pytest.MonkeyPatch) -> None:
    pem = _key(Suite.ED25519_ML_DSA_87).to_pem(None)
    monkeypatch.setattr(mldsa, "available", lambda: False)
    for act in (lambda: PrivateKey.generate(Suite.ED25519_ML_DSA_87), lambda: PrivateKey.from_pem(pem),
                lambda: PrivateKey.from_seeds(Suite.ED25519_ML_DSA_87, *SEEDS[Suite.ED25519_ML_DSA_87])):
        with pytest.raises(FormatError, match="cannot do ML-DSA-87"):
            act()


@pytest.mark.usefixtures("without_ml_dsa")
@pytest.mark.parametrize("suite", [Suite.ED25519, Suite.ED448])
def test_the_other_suites_do_not_need_ml_dsa(suite: Suite) -> None:
    key = PrivateKey.from_pem(_key(suite).to_pem(None))
    assert key.public.verify(key.sign(b"m"), b"m")


def test_whether_ml_dsa_is_there_is_tried_and_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unsupported:
        @staticmethod
        def from_seed_bytes(seed: bytes) -> None:
            raise UnsupportedAlgorithm("ML-DSA is not supported by this version of OpenSSL")

    for stand_in in (Unsupported, type("Missing", (), {})):
        mldsa.available.cache_clear()
        monkeypatch.setattr(mldsa, "MLDSA87PrivateKey", stand_in)
        assert not mldsa.available()
    monkeypatch.undo()
    mldsa.available.cache_clear()
    assert mldsa.available()


def test_a_scalar_is_reduced_below_the_order_and_not_at_it() -> None:
    for size, order, reduced in (
        (32, curves.ED25519_L, curves.ed25519_scalar_is_reduced),
        (57, curves.ED448_L, curves.ed448_scalar_is_reduced),
    ):
        r = b"\xff" * size
        assert reduced(r + (order - 1).to_bytes(size, "little"))
        assert not reduced(r + order.to_bytes(size, "little"))


def test_a_private_key_shows_its_suite_and_the_beginning_of_its_id() -> None:
    key = _key(Suite.ED448)
    assert repr(key) == f"<PrivateKey CT-SIG-04 {key.public.key_id[:len('sha256:') + 12]}…>"


@pytest.mark.parametrize(("size", "header"), [
    (0, "0400"), (127, "047f"), (128, "048180"), (255, "0481ff"), (256, "04820100"), (65536, "0483010000")])
def test_lengths_are_written_as_der_demands(size: int, header: str) -> None:
    assert pkcs8._tlv(0x04, bytes(size)) == bytes.fromhex(header) + bytes(size)


@pytest.mark.parametrize(("number", "der"), [
    (1, "020101"), (8, "020108"), (127, "02017f"), (128, "02020080"), (256, "02020100"), (16384, "02024000"),
    (32768, "0203008000"), (1 << 71, "020a00" + "80" + "00" * 8)])
def test_numbers_are_written_as_der_demands(number: int, der: str) -> None:
    """The first bit is the sign's."""
    assert pkcs8._integer(number).hex() == der


def test_a_locked_key_has_sixteen_bytes_of_salt() -> None:
    der = base64s.decode("".join(_key(Suite.ED25519).to_pem(b"secret").decode().splitlines()[1:-1]), "pem")
    scrypt = bytes.fromhex("06092b06010401da47040b")
    after = der.index(scrypt) + len(scrypt) + 2  # the sequence of its parameters, of which the salt is first
    assert der[after : after + 2] == b"\x04\x10"


def test_what_ml_dsa_is_missing_for_is_a_private_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mldsa, "available", lambda: False)
    with pytest.raises(FormatError) as refusal:
        PrivateKey.generate(Suite.ED25519_ML_DSA_87)
    assert (refusal.value.where, refusal.value.message) == ("private key", mldsa.MISSING)
