"""Signature suites: CT-SIG-01 Ed25519, CT-SIG-02 Ed25519 with ML-DSA-87, CT-SIG-04 Ed448.

Ed25519 and Ed448 as in RFC 8032 (pure, Ed448 with an empty context), ML-DSA-87 as in FIPS 204 (pure, empty
context). CT-SIG-02 signs the same message with both keys; both signatures must hold.

Concatenation for CT-SIG-02, always Ed25519 first:

| what | bytes |
|---|---|
| signature | 64 Ed25519 ‖ 4627 ML-DSA-87 = 4691 (as Cerro Torre lays it out) |
| raw public key | 32 ‖ 2592 = 2624 |
| SPKI | 44 (RFC 8410) ‖ 2614 (RFC 9881): two DER SubjectPublicKeyInfo, one after the other |
| PEM private key | two PKCS #8 blocks |

The Ed25519 half of a CT-SIG-02 signature is a valid CT-SIG-01 signature of the same message. A trust store
must therefore never list a half of a hybrid key as a key of its own.

Where the cryptography library cannot do ML-DSA-87 (:mod:`~vordr.formats.mldsa`), no CT-SIG-02 signature holds
and no such key can be made or opened.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vordr.formats import base64s, curves, mldsa, pkcs8
from vordr.formats.digests import sha256_digest
from vordr.formats.errors import FormatError
from vordr.formats.mldsa import MLDSA87PrivateKey, MLDSA87PublicKey

_Private: TypeAlias = Ed25519PrivateKey | Ed448PrivateKey | MLDSA87PrivateKey


class _Algorithm(Enum):
    """A single signature algorithm: (public key bytes, signature bytes, DER before the key in its SPKI)."""

    ED25519 = (32, 64, bytes.fromhex("302a300506032b6570032100"))
    ED448 = (57, 114, bytes.fromhex("3043300506032b6571033a00"))
    ML_DSA_87 = (2592, 4627, bytes.fromhex("30820a32300b060960864801650304031303820a2100"))

    def __init__(self, key_size: int, signature_size: int, spki_prefix: bytes) -> None:
        self.key_size = key_size
        self.signature_size = signature_size
        self.spki_prefix = spki_prefix


class Suite(Enum):
    """The closed set of suites; the value is the suite's id."""

    ED25519 = "CT-SIG-01"
    ED25519_ML_DSA_87 = "CT-SIG-02"
    ED448 = "CT-SIG-04"

    @property
    def signature_size(self) -> int:
        """Bytes of every signature of this suite."""
        return sum(part.signature_size for part in _PARTS[self])

    @property
    def key_size(self) -> int:
        """Bytes of every raw public key of this suite."""
        return sum(part.key_size for part in _PARTS[self])

    @property
    def available(self) -> bool:
        """Whether this process can sign and verify with it. Where it cannot, nothing of it holds."""
        return _Algorithm.ML_DSA_87 not in _PARTS[self] or mldsa.available()


_PARTS: dict[Suite, tuple[_Algorithm, ...]] = {
    Suite.ED25519: (_Algorithm.ED25519,),
    Suite.ED25519_ML_DSA_87: (_Algorithm.ED25519, _Algorithm.ML_DSA_87),
    Suite.ED448: (_Algorithm.ED448,),
}


def _cut(data: bytes, sizes: tuple[int, ...]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return pieces


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: its suite and its raw bytes. Equal keys are equal values.

    :raises FormatError: wrong length, or an Ed25519 or Ed448 point that is not canonical, of small order, or
        off the curve.
    """

    suite: Suite
    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != self.suite.key_size:
            raise FormatError(
                "public key", f"{self.suite.value} has {self.suite.key_size} bytes, not {len(self.raw)}"
            )
        for part, raw in self._halves():
            match part:
                case _Algorithm.ED25519:
                    curves.check_ed25519_key(raw)
                case _Algorithm.ED448:
                    curves.check_ed448_key(raw)
                case _Algorithm.ML_DSA_87:
                    pass  # every string of the right length is a key (FIPS 204, pkDecode)

    def _halves(self) -> list[tuple[_Algorithm, bytes]]:
        parts = _PARTS[self.suite]
        return list(zip(parts, _cut(self.raw, tuple(part.key_size for part in parts)), strict=True))

    def verify(self, sig: bytes, message: bytes) -> bool:
        """Whether ``sig`` is this key's signature of ``message``; every part must hold, so nothing holds of
        a suite that is not available. Never raises for what ``sig`` holds."""
        if len(sig) != self.suite.signature_size or not self.suite.available:
            return False
        halves = self._halves()
        sigs = _cut(sig, tuple(part.signature_size for part, _ in halves))
        return all(_verify(part, raw, one, message) for (part, raw), one in zip(halves, sigs, strict=True))

    def to_spki(self) -> bytes:
        """SubjectPublicKeyInfo, DER; for CT-SIG-02 two of them, one after the other."""
        return b"".join(part.spki_prefix + raw for part, raw in self._halves())

    def to_spki_base64(self) -> str:
        return base64s.encode(self.to_spki())

    @classmethod
    def from_spki_base64(cls, text: str, suite: Suite) -> PublicKey:
        """:raises FormatError: not canonical base64, not the DER of this suite's keys, or an unsound key."""
        der = base64s.decode(text, "public key")
        if not _is_spki_of(suite, der):
            raise FormatError("public key", f"not a {suite.value} SubjectPublicKeyInfo")
        parts = _PARTS[suite]
        pieces = _cut(der, tuple(len(part.spki_prefix) + part.key_size for part in parts))
        raws = (piece[len(part.spki_prefix) :] for piece, part in zip(pieces, parts, strict=True))
        return cls(suite, b"".join(raws))

    @classmethod
    def from_text(cls, text: str) -> PublicKey:
        """The key in ``PUBLIC KEY`` blocks of PEM (one; for CT-SIG-02 two, Ed25519 first), or in the base64
        of its SPKI, and nothing else; the suite follows from the algorithms found.

        :raises FormatError: anything else.
        """
        blocks = list(_PUBLIC_BLOCK.finditer(text))
        if blocks and "".join("".join(match.group().split()) for match in blocks) != "".join(text.split()):
            raise FormatError("public key", "more in the PEM than public keys")
        bodies = [match.group(1) for match in blocks] or [text]
        der = b"".join(base64s.decode("".join(body.split()), "public key") for body in bodies)
        for suite in Suite:
            if len(blocks) in (0, len(_PARTS[suite])) and _is_spki_of(suite, der):
                return cls.from_spki_base64(base64s.encode(der), suite)
        raise FormatError("public key", "of no suite")

    def to_pem(self) -> str:
        """What :meth:`from_text` reads and ``openssl pkey -pubout`` writes: one block for each part."""
        blocks = (_pem("PUBLIC KEY", part.spki_prefix + raw) for part, raw in self._halves())
        return b"".join(blocks).decode("ascii")

    @property
    def parts(self) -> tuple[bytes, ...]:
        """The raw key of each algorithm: one, or for CT-SIG-02 two. Whoever counts distinct keys compares
        these, because a half of a hybrid key would be a key of its own."""
        return tuple(raw for _, raw in self._halves())

    @property
    def key_id(self) -> str:
        """``sha256:<hex>`` of :meth:`to_spki`."""
        return sha256_digest(self.to_spki())


def _verify(part: _Algorithm, raw: bytes, sig: bytes, message: bytes) -> bool:
    try:
        match part:
            case _Algorithm.ED25519:
                if not curves.ed25519_scalar_is_reduced(sig):
                    return False
                Ed25519PublicKey.from_public_bytes(raw).verify(sig, message)
            case _Algorithm.ED448:
                if not curves.ed448_scalar_is_reduced(sig):
                    return False
                Ed448PublicKey.from_public_bytes(raw).verify(sig, message)
            case _Algorithm.ML_DSA_87:
                MLDSA87PublicKey.from_public_bytes(raw).verify(sig, message)
    except InvalidSignature:
        return False
    return True


_PUBLIC_BLOCK = re.compile(r"-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----")


def _is_spki_of(suite: Suite, der: bytes) -> bool:
    parts = _PARTS[suite]
    pieces = _cut(der, tuple(len(part.spki_prefix) + part.key_size for part in parts))
    return b"".join(pieces) == der and all(
        len(piece) == len(part.spki_prefix) + part.key_size and piece.startswith(part.spki_prefix)
        for piece, part in zip(pieces, parts, strict=True))


_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----\n[A-Za-z0-9+/=\n]+-----END \1-----\n?")


class PrivateKey:
    """A private key of one suite. Its repr shows no secret, and it cannot be pickled."""

    __slots__ = ("_keys", "_suite")

    def __init__(self, suite: Suite, keys: tuple[_Private, ...]) -> None:
        _must_be_available(suite)
        if tuple(map(_algorithm_of, keys)) != _PARTS[suite]:
            raise FormatError("private key", f"not the keys of {suite.value}")
        self._suite = suite
        self._keys = keys

    def __repr__(self) -> str:
        return f"<PrivateKey {self._suite.value} {self.public.key_id[:19]}…>"

    @property
    def suite(self) -> Suite:
        return self._suite

    @classmethod
    def generate(cls, suite: Suite) -> PrivateKey:
        """A new key, from the operating system's random source.

        :raises FormatError: the suite is not available here.
        """
        _must_be_available(suite)
        return cls(suite, tuple(_generate(part) for part in _PARTS[suite]))

    @classmethod
    def from_seeds(cls, suite: Suite, *seeds: bytes) -> PrivateKey:
        """The key of given secret bytes, one string for each part: 32 (Ed25519, ML-DSA-87) or 57 (Ed448).

        :raises FormatError: wrong number or length, or a suite that is not available here.
        """
        _must_be_available(suite)
        if len(seeds) != len(_PARTS[suite]):
            raise FormatError("private key", f"{suite.value} needs {len(_PARTS[suite])} seeds")
        try:
            keys = tuple(_from_seed(*pair) for pair in zip(_PARTS[suite], seeds, strict=True))
        except ValueError as error:
            raise FormatError("private key", str(error))
        return cls(suite, keys)

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``: deterministic but for ML-DSA-87, which is hedged with fresh
        randomness."""
        return b"".join(key.sign(message) for key in self._keys)

    @property
    def public(self) -> PublicKey:
        return PublicKey(self._suite, b"".join(key.public_key().public_bytes_raw() for key in self._keys))

    def to_pem(self, passphrase: bytes | None) -> bytes:
        """PKCS #8 in PEM, one block for each part; with a passphrase (not empty), encrypted as
        :mod:`vordr.formats.pkcs8` says.

        :raises FormatError: an empty passphrase.
        """
        if passphrase == b"":
            raise FormatError("private key", "empty passphrase")
        return b"".join(_pem_block(key, passphrase) for key in self._keys)

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None = None) -> PrivateKey:
        """The key that :meth:`to_pem` wrote; the suite follows from the algorithms found.

        :raises FormatError: not PEM, a wrong or missing or needless passphrase, algorithms that make up no
            suite, or one that the library does not have.
        """
        blocks = [match.group() for match in _PEM_BLOCK.finditer(pem)]
        if not blocks or b"".join(blocks).strip() != pem.strip():
            raise FormatError("private key", "not PEM")
        keys: list[_Private] = []
        for block in blocks:
            try:
                key = serialization.load_pem_private_key(block, passphrase)
            # TypeError: a passphrase is missing or needless
            except (TypeError, ValueError, UnsupportedAlgorithm) as error:
                raise FormatError("private key", str(error))
            if not isinstance(key, Ed25519PrivateKey | Ed448PrivateKey | MLDSA87PrivateKey):
                raise FormatError("private key", "an algorithm of no suite")
            keys.append(key)
        found = tuple(map(_algorithm_of, keys))
        for suite, parts in _PARTS.items():
            if found == parts:
                return cls(suite, tuple(keys))
        names = " ".join(part.name for part in found)
        raise FormatError("private key", f"algorithms that make up no suite: {names}")


def _must_be_available(suite: Suite) -> None:
    if not suite.available:
        raise FormatError("private key", mldsa.MISSING)


def _algorithm_of(key: _Private) -> _Algorithm:
    match key:
        case Ed25519PrivateKey():
            return _Algorithm.ED25519
        case Ed448PrivateKey():
            return _Algorithm.ED448
        case MLDSA87PrivateKey():
            return _Algorithm.ML_DSA_87


def _generate(part: _Algorithm) -> _Private:
    match part:
        case _Algorithm.ED25519:
            return Ed25519PrivateKey.generate()
        case _Algorithm.ED448:
            return Ed448PrivateKey.generate()
        case _Algorithm.ML_DSA_87:
            return MLDSA87PrivateKey.generate()


def _from_seed(part: _Algorithm, seed: bytes) -> _Private:
    match part:
        case _Algorithm.ED25519:
            return Ed25519PrivateKey.from_private_bytes(seed)
        case _Algorithm.ED448:
            return Ed448PrivateKey.from_private_bytes(seed)
        case _Algorithm.ML_DSA_87:
            return MLDSA87PrivateKey.from_seed_bytes(seed)


def _pem_block(key: _Private, passphrase: bytes | None) -> bytes:
    plain = serialization.NoEncryption()
    if passphrase is None:
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, plain)
    return _pem("ENCRYPTED PRIVATE KEY", pkcs8.encrypt(der, passphrase, os.urandom(16), os.urandom(16)))


def _pem(label: str, der: bytes) -> bytes:
    text = base64s.encode(der)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode("ascii")
